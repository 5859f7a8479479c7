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
    if total > 0 {
      // Before, only the default region has one: it is not among these, where the kernel is known to make that heap.
      let needsDefault =
        choice == .builtIn && machine.release.isBefore(6, 19) && parameter(machine) == nil
      return Finding(
        .broken, .contiguous, "contiguous.no-heap",
        seen:
          "\(total.asByteCount) are set aside for contiguous memory, and no heap serves from them",
        why: why + (needsDefault ? "; this kernel serves only from its default region" : ""),
        fix: needsDefault
          ? BootParameter.fix("cma=64M", machine) : Fix.kernelOptions(["DMABUF_HEAPS_CMA"], machine)
      )
    }
    return Finding(
      choice == nil ? .warning : .broken, .contiguous, "contiguous.no-region",
      seen: "no memory is set aside for contiguous buffers" + cause(machine), why: why,
      fix: BootParameter.fix("cma=64M", machine))
  }

  private static func parameter(_ machine: Machine) -> String? {
    let words = (machine.files.line("/proc/cmdline") ?? "").split(separator: " ")
    // The last one counts.
    return words.last { $0.hasPrefix("cma=") }.map(String.init)
  }

  private static func cause(_ machine: Machine) -> String {
    if let parameter = parameter(machine) { return ": the kernel was booted with \(parameter)" }
    if machine.configuration?.number("CONFIG_CMA_SIZE_MBYTES") == 0 {
      return ": CONFIG_CMA_SIZE_MBYTES is 0, and no cma= is on the kernel's command line"
    }
    return ": the kernel could not reserve it"
  }

  // MARK: A region

  private static func region(
    of heap: HeapNode, _ machine: Machine, _ trial: Trial, probing: Bool
  ) -> [Finding] {
    guard let entry = heap.entry else { return [] }
    let size = entry.capacity.map { "\($0.asByteCount)" } ?? "a region of unknown size"
    let free = entry.free.map { ", of which \($0.asByteCount) are free" } ?? ""
    let seen = "\(heap.name): \(size)\(free)"
    if trial.failure(of: heap) == .noMemory || entry.free.map({ $0 < pageSize }) == true {
      return [
        Finding(
          .broken, .contiguous, "contiguous.full",
          seen: seen + (entry.free == nil ? ", of which not one page could be had" : ""),
          why:
            "each further contiguous buffer is refused with ENOMEM, until some that heapctl holders shows are closed",
          fix: larger(entry, machine))
      ]
    }
    var findings = [
      Finding(
        .ok, .contiguous, "contiguous.region", seen: seen,
        why: "a buffer has to lie in one free piece of it")
    ]
    if let free = entry.free, let total = entry.capacity, free < total / 8 {
      findings.append(
        Finding(
          .warning, .contiguous, "contiguous.low", seen: seen,
          why: "the next large buffer is refused", fix: larger(entry, machine)))
    }
    if let total = entry.capacity, total < 16 << 20 {
      findings.append(
        Finding(
          .warning, .contiguous, "contiguous.small",
          seen: "\(heap.name) has only \(total.asByteCount)",
          why:
            "one picture of 1920×1080 XR24 takes \(picture.asByteCount), and a stream needs three or more",
          fix: larger(entry, machine)))
    }
    let shape = fragmentation(of: heap, entry, machine, trial, probing: probing)
    return findings + (shape.map { [$0] } ?? [])
  }

  /// Makes the region larger, or where no larger one would leave half of the machine's memory, frees some of it.
  private static func larger(_ entry: HeapEntry, _ machine: Machine) -> String {
    let total = entry.capacity ?? 0
    let memory = (try? MachineMemory.read(machine.files.path(MachineMemory.file)))?.total ?? 0
    var size: UInt64 = 64 << 20
    while size < total * 2 { size *= 2 }
    if size > memory / 2 { size /= 2 }
    guard entry.capacity != nil, size > total, size <= memory / 2 else {
      return "heapctl holders  # whose buffers they are: close some"
    }
    // Those of the device tree stay, whatever the command line says; a default one would make way for it,
    // and its heap would have another name.
    let regions = "/proc/device-tree/reserved-memory"
    let nodes = machine.files.entries(regions)
    let node =
      nodes.first { $0 == entry.region || $0 == entry.name }
      ?? nodes.first {
        parameter(machine) == nil && machine.files.exists("\(regions)/\($0)/linux,cma-default")
      }
    guard let node else {
      return BootParameter.fix("cma=\(size >> 20)M", machine)
    }
    let overlays = "/boot/firmware/config.txt"
    if size <= 512 << 20,
      machine.files.text(overlays)?.holds("\ndtoverlay=vc4-") == true
    {
      return
        "sudo sed -E -i '/^dtoverlay=vc4-/{s/,cma-[0-9]+//;s/[[:space:]]*$/,cma-\(size >> 20)/}' \(overlays)  # then reboot"
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
    of heap: HeapNode, _ entry: HeapEntry, _ machine: Machine, _ trial: Trial, probing: Bool
  ) -> Finding? {
    let free = entry.free ?? entry.capacity ?? 0
    // CONFIG_CMA_DEBUGFS, in pages: the longest run that no driver holds.
    let chunk = entry.region.flatMap {
      machine.files.number("/sys/kernel/debug/cma/\($0)/maxchunk")
    }.map { $0 * pageSize }
    var largest = chunk ?? 0
    var source = "/sys/kernel/debug/cma"
    var fitting = "at least \(largest / picture)"
    if probing, trial.working.contains(where: { $0.name == heap.name }) {
      largest = largestPiece(of: heap, limit: free)
      source = "allocated and given back"
      fitting = "\(pictures(in: heap, atMost: free / picture))"
    } else if chunk == nil {
      return freeBlocks(machine.files)
    }
    let seen =
      "\(heap.name): the largest buffer to be had is \(largest.asByteCount) of \(free.asByteCount) (\(source)); \(fitting) of \(free / picture) pictures of 1920×1080 XR24 fit"
    guard largest < free / 2 else {
      return Finding(
        .ok, .contiguous, "contiguous.largest", seen: seen, why: "the region is in one piece")
    }
    // What no driver holds and yet cannot be had is in others' use: movable pages that something pinned.
    let arePinned = chunk.map { largest < $0 / 2 } ?? (entry.free == entry.capacity)
    let memory = try? MachineMemory.read(machine.files.path(MachineMemory.file))
    // CmaFree is of all regions: what is neither held nor free is lent.
    let isOnly = entry.free != nil && memory?.contiguousTotal == entry.capacity
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
