internal import LinuxHeaps

/// A heap whose buffers go to a device, and what to ask of it.
struct MemorySource {
  let heap: any Heap
  var settings = SingleBufferSettings()

  /// In the order in which they are to be tried.
  ///
  /// - Parameter contiguous: Nothing else will do.
  static func candidates(
    named name: String?, contiguous: Bool = false
  ) throws(HeapError) -> [MemorySource] {
    let settings = contiguous ? SingleBufferSettings.contiguous : SingleBufferSettings()
    if let name { try expectDMABufs(of: NamedHeap.name(of: name)) }
    switch name.map(NamedHeap.name) {
    case UDMABufHeap.name where contiguous:
      throw HeapError(
        .notSupported, "give contiguous memory of \(UDMABufHeap.name) to a device",
        cause: "its pages are not physically contiguous",
        fix: "use a contiguous heap of /dev/dma_heap, or \(HugeHeap.name)")
    case UDMABufHeap.name: return [MemorySource(heap: UDMABufHeap())]
    case .some(let name):
      return [MemorySource(heap: DMABufHeap(heaps: [name]), settings: settings)]
    case nil where contiguous: return [MemorySource(heap: DMABufHeap(), settings: settings)]
    case nil:
      let entries = HeapCatalog().heaps()
      let roles = Set(entries.map(\.role))
      // Heaps of other roles are used only by name.
      if roles.isDisjoint(with: [.system, .contiguous]) && UDMABufHeap.isUsable {
        return [MemorySource(heap: UDMABufHeap())]
      }
      let heap = DMABufHeap()
      let contiguous = MemorySource(heap: heap, settings: .contiguous)
      let any = MemorySource(heap: heap)
      if !roles.contains(.contiguous) && !HugeHeap.isUsable { return [any] }
      return roles.contains(.system) ? [any, contiguous] : [contiguous]
    }
  }

  static func expectDMABufs(of heap: String) throws(HeapError) {
    guard [MemfdHeap.name, OpaqueHeap.name].contains(heap) else { return }
    throw HeapError(
      .notSupported, "give memory of \(heap) to a device",
      cause: "devices import dma-bufs, and this heap has none",
      fix: "use a heap of /dev/dma_heap, or udmabuf")
  }
}
