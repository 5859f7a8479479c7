public import LinuxHeaps

/// The kernel's heaps with a pool before them: buffers are made ahead of requests, and those that have ended are zeroed off the
/// callers' path and handed out again.
///
/// A buffer that is handed out again has a new (collection, index), and nothing of before answers to it: not its number, no
/// handle, no tracker, and not its bytes. Its inode is the same: a former holder that sees it again can tell that it is. So what
/// one user had is for that user alone (`HeapServer` says which user asks); what nobody had is for everybody.
///
/// Protected memory, udmabufs, huge pages and memfds are not pooled: the processor cannot zero the first, the kernel makes udmabufs and
/// memfds as fast as they could be zeroed, and huge pages are reserved, and few. Nor is memory whose pages can be taken out of a
/// mapping: who has some is in no count.
public struct PooledHeap: LocalHeap {
  public var properties: HeapProperties { heap.properties }
  public var buffers: LiveBuffers { heap.buffers }
  public var descriptorsPerBuffer: Int { heap.descriptorsPerBuffer }
  private let heap: DMABufHeap
  private let end: End
  private var pool: Pool { end.pool }

  /// Lets the pool go with the last copy of the heap.
  private final class End: Sendable {
    let pool: Pool
    init(_ pool: Pool) { self.pool = pool }
    deinit { pool.close() }
  }

  /// - Parameters:
  ///   - heap: Makes the memory; its admission has what lies in the pool.
  ///   - settings: What is kept, and made ahead; ``change(_:)`` changes it.
  public init(_ heap: DMABufHeap, _ settings: PoolSettings) {
    self.heap = heap
    end = End(Pool(heap, settings))
    pool.begin()
  }

  /// Takes effect at once: what no longer has room goes.
  public func change(_ settings: PoolSettings) { pool.change(settings) }

  /// What lies in the pool now, and what it did.
  public var figures: PoolFigures { pool.figures }

  /// How many descriptors the pool holds at most: with each buffer goes a file with its count, which stays open for the next.
  public var mostDescriptors: Int { pool.mostDescriptors }

  /// From now on.
  package func closes(by closer: any PoolCloser) { pool.closes(by: closer) }

  /// Where it did.
  package func closesNoMore(by closer: any PoolCloser) { pool.closesNoMore(by: closer) }

  /// Closes what is in the pool now.
  package func empty() { pool.empty() }

  /// Whether the kernel tells this process that the machine's tasks wait for memory.
  package var hearsOfPressure: Bool { pool.hearsOfPressure }

  public func hasMemory(for settings: SingleBufferSettings) -> Bool {
    heap.hasMemory(for: settings)
  }

  public func makeMemoryAtOnce(
    for request: borrowing BufferRequest
  ) throws(HeapError) -> BufferMemory? {
    guard let kind = PoolKind(request) else { return try heap.makeMemoryAtOnce(for: request) }
    if let memory = pool.take(kind, request) { return memory }
    do throws(HeapError) {
      guard let memory = try heap.makeMemoryAtOnce(for: request) else { return nil }
      return pool.wrap(memory, kind, request.owner)
    } catch {
      // Who may wait asks again, and has the pool let go.
      return nil
    }
  }

  public func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    let key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
    do throws(HeapError) { return try allocate(key, size, settings, cleanup) } catch {
      // Also once there is memory, the handle of it takes a descriptor.
      guard error.code == .noResources,
        let vmo = try pool.retry({ () throws(HeapError) in
          try allocate(key, size, settings, cleanup)
        })
      else { throw error }
      return vmo
    }
  }

  public func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    guard let kind = PoolKind(request) else { return try heap.makeMemory(for: request) }
    if let memory = pool.take(kind, request) { return memory }
    do throws(HeapError) {
      return pool.wrap(try heap.makeMemory(for: request), kind, request.owner)
    } catch {
      // Before it is told that there is no memory, or no descriptor.
      guard canHelp(error, request),
        let memory = try pool.retry({ () throws(HeapError) in try heap.makeMemory(for: request) })
      else { throw error }
      return pool.wrap(memory, kind, request.owner)
    }
  }

  /// Whether what lies in the pool can be what the request lacks: else anybody could empty it by asking for too much.
  private func canHelp(_ error: HeapError, _ request: borrowing BufferRequest) -> Bool {
    switch error.code {
    case .noMemory: heap.admits(request, whenFree: pool.releasableBytes)
    case .noResources: true
    default: false
    }
  }
}

/// Which requests can be served by the same buffers.
struct PoolKind: Hashable {
  let byteCount: UInt64
  let isContiguous: Bool
  /// The node that alone may serve.
  let node: String?

  /// Nil for memory that is not pooled.
  init?(_ request: borrowing BufferRequest) {
    let role = HeapRole(askedFor: request)
    guard role != .protected else { return nil }
    byteCount = request.size
    isContiguous = role == .contiguous
    node = request.settings.heapNode
  }

  init?(_ stock: PoolSettings.Stock) {
    guard let size = try? stock.byteCount.checkedAsVmoSize() else { return nil }
    byteCount = size
    isContiguous = stock.isContiguous
    node = nil
  }
}
