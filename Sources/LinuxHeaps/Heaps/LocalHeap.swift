/// A heap whose buffers this process keeps.
///
/// A heap of one's own implements ``Heap/properties``, ``buffers`` (a ``LiveBuffers`` that is made once) and
/// ``makeMemory(for:)``. All else follows: names and deletion, slices and handles in other processes, the end when the
/// last of them closes, collections' lifetimes. `HeapServer` serves what ``makeMemory(for:)`` makes.
public protocol LocalHeap: Heap {
  /// The heap's live buffers, by (collection, index).
  var buffers: LiveBuffers { get }

  /// Makes memory. The buffer's (collection, index) is free, and nobody else asks for it meanwhile.
  ///
  /// Called on any thread, and on several at a time.
  ///
  /// - Throws: ``HeapError/Code/noMemory`` where there is not enough, ``HeapError/Code/notSupported`` for memory that the
  ///   heap does not have; whatever else keeps it from making it.
  func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory

  /// Makes memory where that takes a few system calls that wait for no more than a page fault does, so that a server asks for it
  /// in its event loop. Nil where it takes longer, as by default: the kernel clears pages, or moves others out of the way. Then
  /// ``makeMemory(for:)`` is asked, on another thread.
  ///
  /// - Throws: What ``makeMemory(for:)`` does.
  func makeMemoryAtOnce(
    for request: borrowing BufferRequest
  ) throws(HeapError) -> BufferMemory?

  /// Whether the heap may have the memory that a request's settings ask for: physically contiguous, or secure. True by
  /// default.
  ///
  /// The heap itself need not look at settings that it does not depend on: where this says no, a server refuses the request
  /// (``HeapError/Code/notSupported``), whose client gets no other memory in its place.
  func hasMemory(for settings: SingleBufferSettings) -> Bool

  /// How many descriptors this process keeps for each buffer; 1 by default.
  var descriptorsPerBuffer: Int { get }
}

extension LocalHeap {
  public func makeMemoryAtOnce(
    for request: borrowing BufferRequest
  ) throws(HeapError) -> BufferMemory? { nil }

  public func hasMemory(for settings: SingleBufferSettings) -> Bool { true }

  public var descriptorsPerBuffer: Int { 1 }

  public var liveBufferCount: Int { buffers.count }

  public func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    try allocate(
      BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex), size, settings,
      cleanup)
  }

  /// Makes a buffer live whose memory is made once its (collection, index) is free.
  package func allocate(
    _ key: BufferKey, _ size: UInt64, _ settings: SingleBufferSettings, _ cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    try buffers.allocate(key, size: size, settings: settings, cleanup: cleanup) {
      request throws(HeapError) in try makeMemory(for: request)
    }
  }

  public func deleteVmo(
    bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: consuming VMO
  ) async throws(HeapError) {
    try await buffers.delete(
      BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex), vmo)
  }

  /// Deletes as the call of the same name does, and blocks its thread until all of the buffer is gone.
  ///
  /// - Throws: What that call throws, and ``HeapError/Code/noResources`` where the process may open no more files.
  public func deleteVmo(
    bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: consuming VMO
  ) throws(HeapError) {
    try buffers.deleteAndBlock(
      BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex), vmo)
  }

  public func info(of vmo: borrowing VMO) throws(HeapError) -> BufferKey {
    try buffers.live(vmo, "ask which buffer a vmo is of").key
  }

  public func attachLifetimeTracking(
    _ descriptor: consuming OwnedFD, bufferCollectionID: UInt64, buffersRemaining: UInt32
  ) {
    buffers.attachLifetimeTracking(
      descriptor, bufferCollectionID: bufferCollectionID, buffersRemaining: buffersRemaining)
  }
}
