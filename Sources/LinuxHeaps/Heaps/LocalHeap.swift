/// A heap whose buffers this process keeps.
///
/// A heap of one's own implements ``Heap/properties``, ``buffers`` and the allocation; the rest follows
/// from ``LiveBuffers``.
public protocol LocalHeap: Heap {
  /// The heap's live buffers, by (collection, index).
  var buffers: LiveBuffers { get }

  /// Whether an allocation is a few system calls that wait for nothing. By default it is not: the kernel
  /// clears pages, or moves others out of the way.
  var allocatesAtOnce: Bool { get }

  /// How many descriptors this process keeps for each buffer; 1 by default.
  var descriptorsPerBuffer: Int { get }
}

extension LocalHeap {
  public var allocatesAtOnce: Bool { false }

  public var descriptorsPerBuffer: Int { 1 }

  public var liveBufferCount: Int { buffers.count }

  public func deleteVmo(
    bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: consuming VMO
  ) async throws(HeapError) {
    try await buffers.delete(
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
