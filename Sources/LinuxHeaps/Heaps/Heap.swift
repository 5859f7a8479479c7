internal import Synchronization
internal import SystemPackage

/// A source of memory, as `fuchsia.hardware.sysmem/Heap` describes one to sysmem.
///
/// A heap hands out the child of a parent that it keeps, and keeps nothing of the child. When the
/// last child is closed, in whichever process, mapping, message or device, the buffer is cleaned up,
/// also where ``deleteVmo(bufferCollectionID:bufferIndex:vmo:)`` never comes. Dropping the heap cleans
/// up nothing: its buffers live until nobody can use them any more.
public protocol Heap: Sendable {
  /// What `OnRegister` tells: the same for the heap's whole life.
  var properties: HeapProperties { get }

  /// Buffers allocated through this value that are not fully reclaimed.
  var liveBufferCount: Int { get }

  /// Allocates a buffer and hands out its only child.
  ///
  /// - Parameters:
  ///   - size: Bytes, rounded up to whole pages by the heap where the caller did not.
  ///   - settings: Looked at only where the heap depends on them, otherwise neither used nor checked.
  ///   - bufferCollectionID: With `bufferIndex` the buffer's name, asked back by ``info(of:)``.
  ///   - bufferIndex: All 64 bits count.
  ///   - cleanup: Run once each, in order, when the last child is gone and before the parent closes.
  ///     Not run when the allocation throws.
  ///
  /// - Throws: ``HeapError/Code/invalidArgs`` for size 0, ``HeapError/Code/outOfRange`` for one that
  ///   cannot be rounded to pages, ``HeapError/Code/alreadyExists`` while (collection, index) is taken,
  ///   ``HeapError/Code/noMemory`` when the heap, the machine or the budget cannot serve it.
  func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO

  /// Takes the last handle back and returns when all of the buffer is gone: a fence.
  ///
  /// Other calls go on meanwhile. Where other children are left against the contract, it waits for
  /// them, however long; cancelling the task changes nothing, because the handle is closed already. A mapping is a child.
  /// Where this process itself has one, or of a heap in this process a handle, the log says so after a second
  /// (`LinuxHeaps.deleteVmo`): a task that holds what it waits for would wait for ever.
  ///
  /// - Throws: ``HeapError/Code/notFound`` for a (collection, index) that is not live and
  ///   ``HeapError/Code/badHandle`` for a vmo of another buffer. Then neither buffer is touched, and the
  ///   vmo comes back in ``HeapError/returnedVMO``.
  func deleteVmo(
    bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: consuming VMO
  ) async throws(HeapError)

  /// Which buffer a handle belongs to, whatever way it came (`GetVmoInfo`).
  ///
  /// - Throws: ``HeapError/Code/notFound`` when it is none of this heap's, or its deletion has begun.
  func info(of vmo: borrowing VMO) throws(HeapError) -> BufferKey

  /// Closes `descriptor` as soon as at most `buffersRemaining` buffers of the collection are not fully
  /// reclaimed; at once where that is so already (`AttachLifetimeTracking`).
  ///
  /// Its other end sees the hang-up. A pipe's end will do for every heap; a socket can hold a buffer of the collection in its
  /// queue, and would then keep what it waits for.
  ///
  /// - Throws: Only where the heap is in another process: it cannot be asked, or takes no other file than a pipe's end
  ///   (``HeapError/Code/invalidArgs``). The descriptor is closed then, too.
  func attachLifetimeTracking(
    _ descriptor: consuming OwnedFD, bufferCollectionID: UInt64, buffersRemaining: UInt32
  ) throws(HeapError)
}

extension Heap {
  /// Allocates a buffer with nothing to clean up but its memory.
  public func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64
  ) throws(HeapError) -> VMO {
    try allocateVmo(
      size: size, settings: settings, bufferCollectionID: bufferCollectionID,
      bufferIndex: bufferIndex, cleanup: [])
  }

  /// Allocates a buffer that is of no collection of the caller's: this process has one for all of these.
  ///
  /// It ends with its last handle, wherever that is, or by ``delete(_:)-(VMO)``, which waits for it.
  ///
  /// - Parameters:
  ///   - byteCount: Rounded up to whole pages.
  ///   - contiguous: Whether the memory has to be physically contiguous.
  /// - Throws: What ``allocateVmo(size:settings:bufferCollectionID:bufferIndex:cleanup:)`` throws, and
  ///   ``HeapError/Code/notSupported`` where the heap served other memory than contiguous.
  public func allocate(byteCount: UInt64, contiguous: Bool = false) throws(HeapError) -> VMO {
    try allocate(nil, byteCount: byteCount, contiguous: contiguous)
  }

  /// - Parameter key: Nil for one of this process's collection.
  package func allocate(
    _ key: BufferKey?, byteCount: UInt64, contiguous: Bool, cleanup: [CleanupAction] = []
  ) throws(HeapError) -> VMO {
    let key = key ?? OwnCollection.nextKey()
    guard contiguous else {
      return try allocateVmo(
        size: byteCount, settings: SingleBufferSettings(),
        bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, cleanup: cleanup)
    }
    // Before anything is made, where the heap knows: of a buffer with clean-up actions the end is noticed later.
    if let heap = self as? any LocalHeap, !heap.hasMemory(for: .contiguous) {
      throw HeapError(notContiguous: byteCount, "the heap has none")
    }
    let isRefused = Guarded(false)
    let vmo = try allocateVmo(
      size: byteCount, settings: .contiguous, bufferCollectionID: key.bufferCollectionID,
      bufferIndex: key.bufferIndex,
      cleanup: cleanup.map { action in { if !isRefused.withLock({ $0 }) { action() } } })
    // A heap of one kind of memory looks at no settings.
    do throws(HeapError) { try vmo.checkContiguous() } catch {
      // Before the buffer can end.
      isRefused.withLock { $0 = true }
      _ = consume vmo
      throw error
    }
    return vmo
  }

  /// Takes a buffer's last handle back and returns when all of it is gone, as
  /// ``deleteVmo(bufferCollectionID:bufferIndex:vmo:)`` does; the heap is asked which buffer it is.
  ///
  /// - Throws: What ``info(of:)`` and that call throw. The vmo comes back in ``HeapError/returnedVMO``.
  public func delete(_ vmo: consuming VMO) async throws(HeapError) {
    let key: BufferKey
    do throws(HeapError) { key = try info(of: vmo) } catch {
      throw HeapError(
        error.code, "delete a vmo", at: error.path?.string, cause: error.cause, errno: error.errno,
        fix: error.fix, returning: ReturnedVMO(vmo))
    }
    try await deleteVmo(
      bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, vmo: vmo)
  }
}

/// The collection of buffers for which nobody chose one: a number that no other process draws.
private enum OwnCollection {
  private static let id = UInt64.random(in: 0 ... .max)
  private static let lastIndex = Atomic<UInt64>(0)

  static func nextKey() -> BufferKey {
    BufferKey(
      bufferCollectionID: id, bufferIndex: lastIndex.add(1, ordering: .relaxed).newValue)
  }
}

extension VMO {
  /// Throws for pages that are known to lie anywhere: those of a memfd, or of an exporter that takes page by page.
  // Not in each heap's allocation: it would make every program larger.
  @inline(never) fileprivate func checkContiguous() throws(HeapError) {
    let source = try exporterName ?? kind.rawValue
    let isUDMABuf = source == UDMABufHeap.name && heapName != HugeHeap.name
    guard kind != .dmaBuf || source == "system" || isUDMABuf else { return }
    throw HeapError(
      notContiguous: byteCount, "the heap serves \(source) memory, whose pages lie anywhere")
  }
}

extension HeapError {
  fileprivate init(notContiguous byteCount: UInt64, _ cause: String) {
    self.init(
      .notSupported, "allocate \(byteCount.asByteCount) of contiguous memory", cause: cause,
      fix: "use DMABufHeap, on a machine that has a contiguous heap")
  }
}

/// `fuchsia.hardware.sysmem/HeapProperties`, sent with `OnRegister`.
public struct HeapProperties: Hashable, Sendable {
  /// The domains in which the heap's buffers can be used.
  public var coherencyDomainSupport: CoherencyDomainSupport
  /// Whether the caller has to zero a new buffer. No kernel heap needs it: it zeroes by itself.
  public var needClear: Bool
  /// Whether the caller has to flush the processor's caches after it cleared a new buffer.
  public var needFlush: Bool

  public init(
    coherencyDomainSupport: CoherencyDomainSupport, needClear: Bool = false, needFlush: Bool = false
  ) {
    self.coherencyDomainSupport = coherencyDomainSupport
    self.needClear = needClear
    self.needFlush = needFlush
  }
}

extension HeapProperties {
  /// Whether its buffers have pages that a processor can reach.
  package var hasMemory: Bool {
    coherencyDomainSupport.cpuSupported || coherencyDomainSupport.ramSupported
  }
}

/// `fuchsia.hardware.sysmem/CoherencyDomainSupport`.
public struct CoherencyDomainSupport: Hashable, Sendable {
  public var cpuSupported: Bool
  public var ramSupported: Bool
  public var inaccessibleSupported: Bool

  public init(cpuSupported: Bool, ramSupported: Bool, inaccessibleSupported: Bool) {
    self.cpuSupported = cpuSupported
    self.ramSupported = ramSupported
    self.inaccessibleSupported = inaccessibleSupported
  }
}
