internal import SystemPackage

/// Memory of memfds: the heap of a machine that has none, embedded in the process.
///
/// Its buffers can be shared between processes, not with devices, and their pages are taken when they
/// are first written. It has one kind of memory and, as the contract asks, looks at no settings: where
/// contiguous memory matters, use ``DMABufHeap``; a server refuses such a request. A holder that makes a udmabuf of the memfd and then
/// closes the memfd is no longer seen: the pages stay with the dma-buf, the buffer counts as gone.
public struct MemfdHeap: LocalHeap {
  /// The name that ``VMO/heapName`` shows.
  public static let name = "memfd"

  public let properties = HeapProperties(
    coherencyDomainSupport: CoherencyDomainSupport(
      cpuSupported: true, ramSupported: true, inaccessibleSupported: false))
  public let buffers: LiveBuffers
  public func hasMemory(for settings: SingleBufferSettings) -> Bool {
    !settings.asksForContiguous && settings.bufferSettings?.isSecure != true
  }
  private let admission: Admission

  public init(admission: Admission = .standard, reclaimer: Reclaimer = .shared) {
    self.admission = admission
    buffers = LiveBuffers(reclaimer: reclaimer)
  }

  public func makeMemoryAtOnce(
    for request: borrowing BufferRequest
  ) throws(HeapError) -> BufferMemory? { try makeMemory(for: request) }

  public func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    try BufferMemory(memfdOf: .memfd, request, admission)
  }
}

extension BufferMemory {
  /// A new memfd, of the heap that is called as its kind is.
  init(memfdOf kind: VMO.Kind, _ request: borrowing BufferRequest, _ admission: Admission)
    throws(HeapError)
  {
    var grant =
      kind == .opaque
      ? try admission.admitWithoutPages(request.size, request.operation)
      : try admission.admit(request.size, from: .pagesAtFirstUse, request.operation)
    do throws(Errno) {
      let parent = try MemfdParent(request.name, size: request.size, kind: kind)
      if kind != .opaque { grant.watch(parent) }
      self.init(
        parent: parent, heapName: kind.rawValue, grant: grant)
    } catch {
      throw Memfd.failure(error, request.operation)
    }
  }
}
