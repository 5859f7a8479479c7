internal import LinuxHeaps

/// Free pages of the migrate type CMA, by /proc/pagetypeinfo, which only root may read.
struct FreeBlocks {
  /// Bytes of the largest block of which one is free.
  let largest: UInt64
  /// Bytes that lie in blocks of that size.
  let inLargest: UInt64
  let total: UInt64

  init?(_ files: MachineFiles) {
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
    largest = pageSize << UInt64(order)
    inLargest = counts[order] * largest
    total = counts.enumerated().reduce(0) { $0 + $1.element * (pageSize << UInt64($1.offset)) }
  }
}
