internal import SystemPackage

/// Memory of memfds: the heap of a machine that has none, embedded in the process.
///
/// Its buffers can be shared between processes, not with devices, and their pages are taken when they
/// are first written. It has one kind of memory and, as the contract asks, looks at no settings: where
/// contiguous memory matters, use ``DMABufHeap``. A holder that makes a udmabuf of the memfd and then
/// closes the memfd is no longer seen: the pages stay with the dma-buf, the buffer counts as gone.
public struct MemfdHeap: LocalHeap {
  /// The name that ``VMO/heapName`` shows.
  public static let name = "memfd"

  public let properties = HeapProperties(
    coherencyDomainSupport: CoherencyDomainSupport(
      cpuSupported: true, ramSupported: true, inaccessibleSupported: false))
  public let buffers: LiveBuffers
  public var allocatesAtOnce: Bool { true }
  private let admission: Admission

  public init(admission: Admission = .standard, reclaimer: Reclaimer = .shared) {
    self.admission = admission
    buffers = LiveBuffers(reclaimer: reclaimer)
  }

  public func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    let key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
    return try buffers.allocateMemfd(
      key, size: size, kind: .memfd, admission: admission, cleanup: cleanup)
  }
}

extension LiveBuffers {
  /// Makes a memfd live, of the heap that is called as its kind is.
  func allocateMemfd(
    _ key: BufferKey, size: UInt64, kind: VMO.Kind, admission: Admission, cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    try allocate(key, size: size, cleanup: cleanup) { (size, operation) throws(HeapError) in
      let source: Admission.Source = kind == .opaque ? .nothing : .pagesAtFirstUse
      let grant = try admission.admit(size, from: source, operation())
      do throws(Errno) {
        let parent = try MemfdParent(key.description, size: size, kind: kind)
        if kind != .opaque { grant.watch(parent) }
        return Memory(
          parent: parent, child: try parent.openChild(), heapName: kind.rawValue, grant: grant)
      } catch {
        throw HeapError(error, operation())
      }
    }
  }
}
