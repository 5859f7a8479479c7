internal import LinuxHeaps

/// A heap that a picture can come from, and what to ask of it.
struct MemorySource {
  let heap: any Heap
  var settings = SingleBufferSettings()

  /// In the order in which they are to be tried.
  static func candidates(named name: String?) throws(HeapError) -> [MemorySource] {
    switch name {
    case UDMABufHeap.name: return [MemorySource(heap: UDMABufHeap())]
    case MemfdHeap.name, OpaqueHeap.name:
      throw HeapError(
        .notSupported, "scan out of \(name ?? "")",
        cause: "devices import dma-bufs, and this heap has none",
        fix: "use a heap of /dev/dma_heap, or udmabuf")
    case .some(let name): return [MemorySource(heap: DMABufHeap(heaps: [name]))]
    case nil:
      let entries = HeapCatalog().heaps()
      if entries.isEmpty && UDMABufHeap.isUsable { return [MemorySource(heap: UDMABufHeap())] }
      let heap = DMABufHeap()
      let roles = Set(entries.map(\.role))
      let contiguous = MemorySource(heap: heap, settings: .contiguous)
      let any = MemorySource(heap: heap)
      if !roles.contains(.contiguous) { return [any] }
      return roles.contains(.system) ? [any, contiguous] : [contiguous]
    }
  }
}
