internal import LinuxHeaps
internal import SystemPackage

/// Physically contiguous memory: whether there is a region, how large it is, and what is left of it.
enum ContiguousExamination {
  static func findings(_ machine: Machine, _ trial: Trial, probing: Bool) -> [Finding] {
    // Without any heap there is one cause for all kinds.
    guard !machine.heaps.isEmpty else { return [] }
    let heaps = machine.heaps.filter {
      $0.entry?.role == .contiguous && $0.entry?.duplicateOf == nil
    }
    guard !heaps.isEmpty else { return absence(machine).map { [$0] } ?? [] }
    return heaps.flatMap { region(of: $0, machine, trial, probing: probing) }
  }

  // MARK: None

  private static let why =
    "a device without an IOMMU, as most cameras and displays of boards are, accepts no other buffer; requests with --contiguous fail"

  private static func absence(_ machine: Machine) -> Finding? {
    // Reported already: the kernel has it, and its node is missing.
    let regions = Set(machine.files.entries("/sys/kernel/mm/cma"))
    let known = ["default_cma_region", "linux,cma", "reserved", "default-pool"]
    let isMissing = machine.heaps.contains {
      $0.entry == nil && (known.contains($0.name) || regions.contains($0.name))
    }
    guard !isMissing else { return nil }
    let total =
      (try? MachineMemory.read(machine.files.path(MachineMemory.file)))?.contiguousTotal ?? 0
    switch machine.configuration?["CONFIG_DMABUF_HEAPS_CMA"] {
    case .off:
      return Finding(
        .warning, .contiguous, "contiguous.not-built",
        seen: "the kernel was built without CONFIG_DMABUF_HEAPS_CMA", why: why,
        fix: Fix.kernelOptions(["CMA", "DMA_CMA", "DMABUF_HEAPS_CMA"]))
    case .module where total > 0:
      return Finding(
        .broken, .contiguous, "contiguous.module-not-loaded",
        seen:
          "\(total.asByteCount) are set aside, and cma_heap (CONFIG_DMABUF_HEAPS_CMA=m) is not loaded",
        why: why,
        fix: "sudo modprobe cma_heap && echo cma_heap | sudo tee /etc/modules-load.d/cma_heap.conf")
    case let choice:
      guard total == 0 else {
        return Finding(
          .broken, .contiguous, "contiguous.no-heap",
          seen:
            "\(total.asByteCount) are set aside for contiguous memory, and no heap serves from them",
          why: why
            + (machine.release.isBefore(6, 19)
              ? "; this kernel serves only from its default region" : ""),
          fix: Fix.bootParameter("cma=64M", machine.files))
      }
      return Finding(
        choice == nil ? .warning : .broken, .contiguous, "contiguous.no-region",
        seen: "no memory is set aside for contiguous buffers" + cause(machine), why: why,
        fix: fix(machine))
    }
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

  private static func fix(_ machine: Machine) -> String {
    parameter(machine) == nil
      ? Fix.bootParameter("cma=64M", machine.files)
      : "grep -rn 'cma=' /etc/default/grub /boot 2>/dev/null  # make it cma=64M there, then reboot"
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
          why: "each further contiguous buffer is refused with ENOMEM",
          fix: "heapctl holders  # whose buffers they are; close some, or: "
            + Fix.bootParameter("cma=256M", machine.files))
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
          why: "the next large buffer is refused",
          fix: Fix.bootParameter("cma=256M", machine.files)))
    }
    if let total = entry.capacity, total < 16 << 20 {
      findings.append(
        Finding(
          .warning, .contiguous, "contiguous.small",
          seen: "\(heap.name) has only \(total.asByteCount)",
          why: "one picture of 1920×1080 XR24 takes 7.9 MiB, and a stream needs three or more",
          fix: Fix.bootParameter("cma=64M", machine.files)))
    }
    let shape = fragmentation(of: heap, entry, machine, trial, probing: probing)
    return findings + (shape.map { [$0] } ?? [])
  }

  private static func fragmentation(
    of heap: HeapNode, _ entry: HeapEntry, _ machine: Machine, _ trial: Trial, probing: Bool
  ) -> Finding? {
    let largest: UInt64
    let source: String
    if probing, trial.working.contains(where: { $0.name == heap.name }),
      let found = largestPiece(of: heap, limit: entry.free ?? entry.capacity ?? 0)
    {
      (largest, source) = (found, "allocated and given back")
    } else if let region = entry.region,
      let chunk = machine.files.number("/sys/kernel/debug/cma/\(region)/maxchunk")
    {
      // CONFIG_CMA_DEBUGFS, in pages.
      (largest, source) = (chunk * pageSize, "/sys/kernel/debug/cma")
    } else {
      return freeBlocks(machine.files)
    }
    let free = entry.free ?? entry.capacity ?? 0
    let seen =
      "\(heap.name): the largest buffer to be had is \(largest.asByteCount) of \(free.asByteCount) (\(source))"
    return largest < free / 2
      ? Finding(
        .warning, .contiguous, "contiguous.fragmented", seen: seen,
        why: "buffers that live on lie between the free pieces",
        fix:
          "sudo sh -c 'echo 1 > /proc/sys/vm/compact_memory'  # moves what can be moved; else restart the holders, or boot with a larger cma="
      )
      : Finding(
        .ok, .contiguous, "contiguous.largest", seen: seen, why: "the region is in one piece")
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
  private static func largestPiece(of heap: HeapNode, limit: UInt64) -> UInt64? {
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
    return good == 0 ? nil : good * pageSize
  }
}
