internal import LinuxHeaps
internal import SystemPackage

/// Physically contiguous memory: whether there is a region, how large it is, and what is left of it.
enum ContiguousExamination {
  static func findings(_ machine: Machine, _ trial: Trial, probing: Bool) -> [Finding] {
    // Without any heap there is one cause for all kinds.
    guard !machine.heaps.isEmpty else { return [] }
    let heaps = machine.heaps.filter {
      $0.entry?.role == .contiguous && $0.entry?.duplicateOf == nil && !$0.isDangling
    }
    guard !heaps.isEmpty else { return (hugePages(machine) ?? absence(machine)).map { [$0] } ?? [] }
    let findings = heaps.flatMap { region(of: $0, machine, trial, probing: probing) }
    // Some are of all regions together.
    return findings.indices.filter { findings.firstIndex(of: findings[$0]) == $0 }.map {
      findings[$0]
    }
  }

  // MARK: None

  private static let why =
    "a device without an IOMMU, as most cameras and displays of boards are, accepts no other buffer; requests with --contiguous fail"

  /// Those that serve where no heap does; nil where none is reserved, or nobody could have a buffer of one.
  private static func hugePages(_ machine: Machine) -> Finding? {
    guard takesHugePages(machine), HugePageSize.areReserved(machine.files) else { return nil }
    let sizes = HugePageSize.all(machine.files).filter { $0.total > 0 }
    let isFull = sizes.allSatisfy { $0.available == 0 }
    return Finding(
      isFull ? .warning : .ok, .contiguous, "contiguous.huge-pages",
      seen: "no heap, but huge pages (\(HugeHeap.name)): "
        + sizes.map {
          "\($0.total.asByteCount) of \($0.bytes.asByteCount) each, of which \($0.available.asByteCount) are free"
        }.joined(separator: ", "),
      why: isFull
        ? "requests with --contiguous fail" : "a buffer has to lie in one, and is no larger",
      fix: isFull ? Fix.hugePages(machine) : nil)
  }

  private static func takesHugePages(_ machine: Machine) -> Bool {
    machine.files.exists(UDMABufHeap.path)
      && UDMABufHeap.refusal(in: machine.surroundings) == nil
      && machine.failure(of: UDMABufHeap.name) == nil
      && UDMABufHeap.mapsHugePages(machine.files)
      && !HugePageSize.all(machine.files).isEmpty
  }

  private static func absence(_ machine: Machine) -> Finding? {
    // Reported already: the kernel has it, and its node is missing.
    let catalog = HeapCatalog(root: machine.files.root)
    let isMissing = machine.heaps.contains {
      $0.registered != nil && ($0.entry == nil || $0.isDangling)
        && catalog.role(named: $0.name) == .contiguous
    }
    guard !isMissing else { return nil }
    // A carveout of a vendor's is no region of the kernel's.
    let candidates = machine.heaps.filter {
      $0.entry?.role == .other && $0.entry?.duplicateOf == nil && !$0.isDangling
        && $0.name != "system_cc_shared"
    }
    guard candidates.isEmpty else {
      let names = candidates.map(\.name)
      return Finding(
        .warning, .contiguous, "contiguous.unknown-role",
        seen:
          "no heap is known to be contiguous; \(names.joined(separator: ", ")) may be: neither name nor region tells",
        why: why,
        fix: "heapctl verify" + names.map { " --heap \($0)" }.joined()
          + "  # a camera that needs contiguous memory tells; then ask for it by name")
    }
    let information = machine.files.text(MachineMemory.file) ?? ""
    let total = MachineMemory(parsing: information).contiguousTotal
    let choice = machine.configuration?["CONFIG_DMABUF_HEAPS_CMA"]
    // The line is there in kernels with CONFIG_CMA (fs/proc/meminfo.c).
    let hasRegions = information.isEmpty || information.holds("CmaTotal:")
    if choice == .off || !hasRegions {
      return Finding(
        .warning, .contiguous, "contiguous.not-built",
        seen: hasRegions
          ? "the kernel was built without CONFIG_DMABUF_HEAPS_CMA"
          : "the kernel was built without CONFIG_CMA: /proc/meminfo has no CmaTotal",
        why: why
          + (hasRegions
            ? ""
            : "; no word on its command line helps, only another kernel, or the device's own buffers")
          + (takesHugePages(machine) ? "; huge pages would serve, one for each buffer" : ""),
        fix: takesHugePages(machine)
          ? Fix.hugePages(machine)
          : Fix.kernelOptions(["CMA", "DMA_CMA", "DMABUF_HEAPS_CMA"], machine))
    }
    if choice == .module, total > 0 {
      return Finding(
        .broken, .contiguous, "contiguous.module-not-loaded",
        seen:
          "\(total.asByteCount) are set aside, and cma_heap (CONFIG_DMABUF_HEAPS_CMA=m) is not loaded",
        why: why,
        fix: Fix.load(.contiguousHeap, machine))
    }
    let (cause, fix) = withoutDefaultRegion(machine)
    if total > 0 {
      // The default region is not among these, where the kernel is known to make its heap.
      let isBuiltIn = choice == .builtIn
      let owner = parameter(machine, "hugetlb_cma").map { "; \($0) is for huge pages" } ?? ""
      return Finding(
        .broken, .contiguous, "contiguous.no-heap",
        seen:
          "\(total.asByteCount) are set aside for contiguous memory, and no heap serves from them\(owner)",
        why: why
          + (isBuiltIn && machine.release.isBefore(6, 19)
            ? "; this kernel serves only from its default region" : ""),
        fix: isBuiltIn ? fix : Fix.kernelOptions(["DMABUF_HEAPS_CMA"], machine))
    }
    return Finding(
      choice == nil ? .warning : .broken, .contiguous, "contiguous.no-region",
      seen: "no memory is set aside for contiguous buffers\(cause)", why: why, fix: fix)
  }

  private static func parameter(_ machine: Machine, _ key: String = "cma") -> String? {
    let words = (machine.files.line("/proc/cmdline") ?? "").split(separator: " ")
    // The last one counts.
    return words.last { $0.hasPrefix("\(key)=") }.map(String.init)
  }

  /// Why there is no default region, and what helps.
  private static func withoutDefaultRegion(_ machine: Machine) -> (cause: String, fix: String) {
    let option = "CONFIG_CMA_SIZE_MBYTES"
    let mebibytes = machine.configuration?.number(option)
    let word = parameter(machine)
    let booted = word.map { "the kernel was booted with \($0)" }
    let asked: String? =
      if let word {
        asksForMemory(word) ? booted : nil
      } else {
        mebibytes.flatMap { $0 > 0 ? "\(option) is \($0)" : nil }
      }
    if let asked {
      return (
        ", although \(asked)",
        Fix.ofKernel(
          "sudo dmesg | grep -i cma  # what the kernel said when it started: if it could not reserve that much, ask for less; a kernel without CONFIG_DMA_CMA reserves nothing",
          machine)
      )
    }
    let unasked =
      (mebibytes == 0 ? "\(option) is 0, and " : "") + "no cma= is on the kernel's command line"
    return (": \(booted ?? unasked)", BootParameter.fix("cma=64M", machine))
  }

  /// `cma=SIZE[@PLACE]`, and whether the size is any (memparse, lib/cmdline.c, which takes hexadecimal ones, too).
  private static func asksForMemory(_ word: String) -> Bool {
    word.dropFirst(4).prefix { $0 != "@" }.contains { $0.isHexDigit && $0 != "0" }
  }

  // MARK: A region

  /// What is told of the region behind a heap, in bytes. Before Linux 7.0 only CONFIG_CMA_DEBUGFS tells more than the size of all
  /// regions together, and only root.
  private struct Region {
    let total: UInt64?
    let free: UInt64?
    /// Whether `total` is the size of all regions, as far as anything tells.
    let isOfAll: Bool
    /// The longest run that no driver holds.
    let chunk: UInt64?

    init(_ entry: HeapEntry, _ files: MachineFiles) {
      func bytes(_ file: String) -> UInt64? {
        entry.region.flatMap { files.number("/sys/kernel/debug/cma/\($0)/\(file)") }
          .map { $0 * pageSize }
      }
      chunk = bytes("maxchunk")
      if entry.free == nil, let count = bytes("count"), let used = bytes("used") {
        (total, free, isOfAll) = (count, count - min(count, used), false)
      } else {
        (total, free) = (entry.capacity, entry.free)
        isOfAll = entry.free == nil && files.entries("/sys/kernel/mm/cma").count != 1
      }
    }
  }

  private static func region(
    of heap: HeapNode, _ machine: Machine, _ trial: Trial, probing: Bool
  ) -> [Finding] {
    guard let entry = heap.entry else { return [] }
    let region = Region(entry, machine.files)
    let size =
      region.total.map {
        region.isOfAll ? "at most \($0.asByteCount) (all regions together)" : $0.asByteCount
      } ?? "a region of unknown size"
    let free = region.free.map { ", of which \($0.asByteCount) are free" } ?? ""
    let seen = "\(heap.name): \(size)\(free)"
    if trial.failure(of: heap) == .noMemory || region.free.map({ $0 < pageSize }) == true {
      let none =
        region.isOfAll
        ? "; not one page of its own could be had" : ", of which not one page could be had"
      return [
        Finding(
          .broken, .contiguous, "contiguous.full",
          seen: seen + (region.free == nil ? none : ""),
          why:
            "each further contiguous buffer is refused with ENOMEM, until some that heapctl holders shows are closed",
          fix: larger(entry, region, machine))
      ]
    }
    var findings = [
      Finding(
        .ok, .contiguous, "contiguous.region", seen: seen,
        why: "a buffer has to lie in one free piece of it")
    ]
    if let free = region.free, let total = region.total, free < total / 8 {
      findings.append(
        Finding(
          .warning, .contiguous, "contiguous.low", seen: seen,
          why: "the next large buffer is refused", fix: larger(entry, region, machine)))
    }
    if let total = region.total, total < 16 << 20 {
      findings.append(
        Finding(
          .warning, .contiguous, "contiguous.small",
          seen: "\(heap.name) has only \(total.asByteCount)",
          why:
            "one picture of 1920×1080 XR24 takes \(picture.asByteCount), and a stream needs three or more",
          fix: larger(entry, region, machine)))
    }
    let shape = fragmentation(of: heap, region, machine, trial, probing: probing)
    return findings + (shape.map { [$0] } ?? [])
  }

  /// Makes the region larger, or where no larger one would leave half of the machine's memory, frees some of it.
  private static func larger(_ entry: HeapEntry, _ region: Region, _ machine: Machine) -> String {
    let total = region.total ?? 0
    // This one has less than all have together: more than that is more than it has.
    let wanted = region.isOfAll ? total + 1 : total * 2
    let memory = (try? MachineMemory.read(machine.files.path(MachineMemory.file)))?.total ?? 0
    var size: UInt64 = 64 << 20
    while size < wanted { size *= 2 }
    if size > memory / 2 { size /= 2 }
    guard region.total != nil, size > total, size <= memory / 2 else {
      return "heapctl holders  # whose buffers they are: close some"
    }
    // Those of the device tree stay, whatever the command line says; only of a default one none is made then (rmem_cma_setup,
    // kernel/dma/contiguous.c).
    let regions = "/proc/device-tree/reserved-memory"
    let nodes = machine.files.entries(regions)
    let node =
      nodes.first { $0 == entry.region || $0 == entry.name }
      ?? nodes.first {
        parameter(machine) == nil && machine.files.exists("\(regions)/\($0)/linux,cma-default")
      }
    let boot = BootParameter.fix("cma=\(size >> 20)M", machine)
    guard let node else { return boot }
    let overlays = ["/boot/firmware/config.txt", "/boot/config.txt"].first {
      machine.files.text($0)?.holds("\ndtoverlay=vc4-") == true
    }
    if size <= 512 << 20, let overlays {
      return
        "sudo sed -E -i '/^dtoverlay=vc4-/{s/,cma-[0-9]+//;s/[[:space:]]*$/,cma-\(size >> 20)/}' \(overlays)  # then reboot"
    }
    if parameter(machine) == nil, machine.files.exists("\(regions)/\(node)/linux,cma-default") {
      let name = machine.release.isBefore(6, 17) ? "reserved" : "default_cma_region"
      return boot + (name == entry.name ? "" : "; the heap will then be called \(name)")
    }
    let cells = machine.files.text("\(regions)/#size-cells")?.utf8.last
    // What has a place, `reg`, may have others behind it.
    guard let cells, cells > 0, machine.files.exists("\(regions)/\(node)/size") else {
      return
        "ls \(regions)/\(node)  # the device tree sets its size, and cma= does not change it: make it \(size >> 20) MiB there, then reboot"
    }
    return
      "echo '/dts-v1/; /plugin/; &{/reserved-memory/\(node)} { size = /bits/ \(32 * Int(cells)) <\(size)>; };' | dtc -O dtb -o \(node).dtbo -  # have the boot loader apply this overlay: cma= does not change the device tree's region; then reboot"
  }

  private static let picture: UInt64 = 1920 * 1080 * 4

  private static func fragmentation(
    of heap: HeapNode, _ region: Region, _ machine: Machine, _ trial: Trial, probing: Bool
  ) -> Finding? {
    let chunk = region.chunk
    // Of memory that is no region of the kernel's nothing tells the size: to look for its end could take all that the machine has.
    guard region.total != nil || chunk != nil else { return nil }
    var largest = chunk ?? 0
    var source = "/sys/kernel/debug/cma"
    var fitting = "at least \(largest / picture)"
    // Where nothing tells what is free, it is no less than the pictures that were had at once.
    var free = region.free ?? 0
    if probing, trial.working.contains(where: { $0.name == heap.name }) {
      let limit = region.free ?? region.total ?? largest
      largest = largestPiece(of: heap, limit: limit)
      let count = pictures(in: heap, atMost: limit / picture)
      source = "allocated and given back"
      fitting = "\(count)"
      free = region.free ?? count * picture
    } else if chunk == nil {
      return freeBlocks(machine.files)
    }
    let whole = region.free.map {
      (bytes: " of \($0.asByteCount)", pictures: " of \($0 / picture)")
    }
    let seen =
      "\(heap.name): the largest buffer to be had is \(largest.asByteCount)\(whole?.bytes ?? "") (\(source)); \(fitting)\(whole?.pictures ?? "") pictures of 1920×1080 XR24 fit"
    guard largest < free / 2 else {
      return Finding(
        .ok, .contiguous, "contiguous.largest", seen: seen,
        why: region.free == nil
          ? "the kernel does not tell what else is free" : "the region is in one piece")
    }
    // What no driver holds and yet cannot be had is in others' use: movable pages that something pinned.
    let arePinned = chunk.map { largest < $0 / 2 } ?? (region.free == region.total)
    let memory = try? MachineMemory.read(machine.files.path(MachineMemory.file))
    // CmaFree is of all regions: what is neither held nor free is lent.
    let isOnly = region.free != nil && memory?.contiguousTotal == region.total
    let lent = isOnly ? free - min(free, memory?.contiguousFree ?? free) : 0
    return Finding(
      .warning, .contiguous, "contiguous.fragmented", seen: seen,
      why: (arePinned
        ? "pages that were lent to other programs are pinned, and cannot be moved away"
        : "buffers that live on lie between the free pieces")
        + (lent > 0 ? "; \(lent.asByteCount) are lent" : ""),
      fix: arePinned
        ? "sudo sh -c 'echo 3 > /proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory'  # frees and moves what it can; else restart what does direct I/O"
        : "sudo heapctl holders  # whose buffers they are: restart some of these programs")
  }

  /// How many the heap gives at once.
  private static func pictures(in heap: HeapNode, atMost limit: UInt64) -> UInt64 {
    guard limit > 0, let buffer = try? Trial.buffer(of: heap, size: picture) else { return 0 }
    let count = 1 + pictures(in: heap, atMost: limit - 1)
    _ = consume buffer
    return count
  }

  /// Free pages of the migrate type CMA, by /proc/pagetypeinfo, which only root may read.
  private static func freeBlocks(_ files: MachineFiles) -> Finding? {
    var counts: [UInt64] = []
    for line in (files.text("/proc/pagetypeinfo") ?? "").split(separator: "\n") {
      // `Node 0, zone DMA32, type CMA 0 0 1 …`: blocks of 1, 2, 4 … pages.
      let words = line.split(separator: " ")
      guard let type = words.firstIndex(of: "CMA"), words.first == "Node", words.contains("type")
      else { continue }
      for (order, word) in words[(type + 1)...].enumerated() {
        if order == counts.count { counts.append(0) }
        counts[order] += UInt64(word) ?? 0
      }
    }
    guard let order = counts.lastIndex(where: { $0 > 0 }) else { return nil }
    let largest = pageSize << UInt64(order)
    let total = counts.enumerated().reduce(0) { $0 + $1.element * (pageSize << UInt64($1.offset)) }
    return Finding(
      .note, .contiguous, "contiguous.free-blocks",
      seen:
        "free contiguous pages lie in blocks of up to \(largest.asByteCount): \((counts[order] * largest).asByteCount) of \(total.asByteCount) (/proc/pagetypeinfo)",
      why:
        "blocks side by side serve larger buffers; movable pages in between are moved away at need",
      fix: "heapctl doctor --probe  # finds the largest buffer by allocating it")
  }

  /// The largest buffer, to a page, that the heap gives now.
  private static func largestPiece(of heap: HeapNode, limit: UInt64) -> UInt64 {
    var good: UInt64 = 0
    var bad = limit / pageSize + 1
    while bad - good > 1 {
      let pages = good + (bad - good) / 2
      do throws(Errno) {
        _ = try Trial.buffer(of: heap, size: pages * pageSize)
        good = pages
      } catch {
        bad = pages
      }
    }
    return good * pageSize
  }
}
