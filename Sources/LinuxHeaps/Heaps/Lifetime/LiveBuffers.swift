internal import SystemPackage

/// The buffers of one heap that are not fully reclaimed, by (collection, index).
///
/// It keeps the parents, gives out the first children, and forgets a buffer when the reclaimer has
/// taken it back.
public final class LiveBuffers: Sendable {
  private enum Stage {
    /// The memory is being made; its (collection, index) is taken.
    case allocating
    case live(Buffer)
    /// `deleteVmo` has begun.
    case deleting(Buffer)
  }

  /// Called once, when all of a buffer is gone, on the thread that took it back, and before anyone else
  /// is told.
  package typealias Waiter = @Sendable () -> Void

  private struct Record {
    var stage: Stage
    var waiters: [Waiter] = []
    /// Calls of `deleteVmo`, which return after all others were told.
    var deletions: [DeletionEnd] = []
  }

  private struct State {
    var records: [BufferKey: Record] = [:]
    var collections = CollectionLifetimes()
  }

  private let state = Guarded(State())
  private let reclaimer: Reclaimer

  /// - Parameter reclaimer: Whose thread watches the buffers.
  public convenience init(reclaimer: Reclaimer = .shared) {
    self.init(reclaimer: reclaimer) {}
  }

  /// - Parameter whenIdle: Called when no buffer of the reclaimer's was there for a second, to close what is kept open
  ///   for the next.
  init(reclaimer: Reclaimer, whenIdle: @escaping @Sendable () -> Void) {
    self.reclaimer = reclaimer
    reclaimer.core.idle.register(ObjectIdentifier(self), whenIdle)
  }

  deinit { reclaimer.core.idle.remove(ObjectIdentifier(self)) }

  /// Buffers that are not fully reclaimed.
  public var count: Int { state.withLock { $0.records.count } }

  // MARK: Coming

  /// What a heap makes for a new buffer.
  struct Memory: ~Copyable {
    let parent: any Parent
    /// The first child's descriptor.
    let child: OwnedFD
    let heapName: String
    let grant: Admission.Grant
  }

  /// Makes a buffer live. `make` is not called where (collection, index) is taken.
  ///
  /// - Parameter make: Gets the size in whole pages, and the words for what is being done.
  func allocate(
    _ key: BufferKey, size: UInt64, cleanup: [CleanupAction],
    make: (_ size: UInt64, _ operation: () -> String) throws(HeapError) -> Memory
  ) throws(HeapError) -> VMO {
    let size = try size.checkedAsVmoSize()
    func operation() -> String { "allocate \(size.asByteCount)" }
    guard reserve(key) else {
      throw HeapError(
        .alreadyExists, operation(),
        cause: "buffer \(key.bufferIndex) of collection \(key.bufferCollectionID) is live")
    }
    do throws(HeapError) {
      let memory = try make(size, operation)
      let parent = memory.parent
      let heapName = memory.heapName
      memory.grant.settle()
      let buffer = Buffer(
        key, of: self, parent, byteCount: size, reclaimer: reclaimer.core, grant: memory.grant,
        cleanup: cleanup)
      // The child counts as a reference here, so the buffer cannot go before it is on record.
      let child = ChildFD(memory.child, of: buffer)
      try attempt(operation()) { () throws(Errno) in try reclaimer.core.add(buffer) }
      record(buffer)
      return VMO(
        fd: child, kind: parent.kind, identity: parent.identity, offset: 0, byteCount: size,
        heapName: heapName)
    } catch {
      forget(key)
      throw error
    }
  }

  private func reserve(_ key: BufferKey) -> Bool {
    state.withLock { state in
      guard state.records[key] == nil else { return false }
      state.records[key] = Record(stage: .allocating)
      state.collections.begin(key.bufferCollectionID)
      return true
    }
  }

  private func record(_ buffer: Buffer) {
    state.withLock { $0.records[buffer.key]?.stage = .live(buffer) }
  }

  // MARK: Asking

  /// The buffer that a vmo is of.
  func live(
    _ vmo: borrowing VMO, _ operation: @autoclosure () -> String
  ) throws(HeapError) -> (key: BufferKey, buffer: Buffer) {
    if let buffer = live(vmo.identity) { return (buffer.key, buffer) }
    throw HeapError(
      .notFound, operation(),
      cause: "the vmo is of no live buffer of this heap, or its deletion has begun")
  }

  private func live(_ identity: VMOIdentity) -> Buffer? {
    guard let buffer = own(identity) else { return nil }
    return state.withLock { state in
      if case .live = state.records[buffer.key]?.stage { buffer } else { nil }
    }
  }

  /// This heap's buffer of that identity.
  private func own(_ identity: VMOIdentity) -> Buffer? {
    guard let buffer = Buffer.of(identity), buffer.heap === self else { return nil }
    return buffer
  }

  /// What the kernel counts on a buffer: every reference in the whole system, the parent's own
  /// included. Nil for a memfd, and once the buffer is reclaimed or its deletion has begun.
  public func referenceCount(of key: BufferKey) throws(HeapError) -> Int? {
    let buffer: Buffer? = state.withLock { state in
      guard case .live(let buffer) = state.records[key]?.stage else { return nil }
      return buffer
    }
    return try attempt("count a buffer's references") { () throws(Errno) in
      try buffer?.parent?.referenceCount()
    }
  }

  /// The buffer that a descriptor of this identity is of; nil where there is none, and once its
  /// deletion has begun.
  package func key(of identity: VMOIdentity) -> BufferKey? { live(identity)?.key }

  /// The same, as long as there are children.
  package func keyUntilReclaimed(of identity: VMOIdentity) -> BufferKey? { own(identity)?.key }

  /// The identity of a live or deleted buffer's first parent.
  package func identity(of key: BufferKey) -> VMOIdentity? {
    state.withLock { state in
      switch state.records[key]?.stage {
      case .live(let buffer), .deleting(let buffer): buffer.parent?.identity
      default: nil
      }
    }
  }

  /// Has `waiter` called when all of the buffer is gone.
  ///
  /// False where there is no such buffer: gone already, or of another heap.
  package func whenReclaimed(_ identity: VMOIdentity, _ waiter: @escaping Waiter) -> Bool {
    guard let buffer = own(identity) else { return false }
    return state.withLock { $0.records[buffer.key]?.waiters.append(waiter) != nil }
  }

  // MARK: Going

  /// Called when nothing of the buffer is left.
  func forget(_ key: BufferKey) {
    let (record, due) = state.withLock { state in
      (state.records.removeValue(forKey: key), state.collections.end(key.bufferCollectionID))
    }
    for waiter in record?.waiters ?? [] { waiter() }
    for tracker in due { tracker.close() }
    for deletion in record?.deletions ?? [] { deletion.come() }
  }

  /// - Parameter closing: Has the descriptor closed; a stranger's file can take long about it.
  package func attachLifetimeTracking(
    _ descriptor: consuming OwnedFD, bufferCollectionID: UInt64, buffersRemaining: UInt32,
    closing: @escaping @Sendable (consuming OwnedFD) -> Void = { _ = consume $0 }
  ) {
    let tracker = LifetimeTracker(
      descriptor, buffersRemaining: buffersRemaining, closing: closing)
    let isDue = state.withLock { $0.collections.attach(tracker, to: bufferCollectionID) }
    if isDue { tracker.close() }
  }
}

// Handles that come back.

extension LiveBuffers {
  func delete(_ key: BufferKey, _ vmo: consuming VMO) async throws(HeapError) {
    let end = DeletionEnd()
    switch beginDeletion(key, vmo.identity, end) {
    case .begun(let buffer):
      drop(consume vmo, of: buffer)
      await end.wait()
    case let refusal:
      let isUnknown = if case .wrongHandle = refusal { false } else { true }
      throw HeapError(
        isUnknown ? .notFound : .badHandle,
        "delete buffer \(key.bufferIndex) of collection \(key.bufferCollectionID)",
        cause: isUnknown
          ? "this heap has no such buffer, or its deletion has begun"
          : "the vmo is another buffer's", returning: ReturnedVMO(vmo))
    }
  }

  /// How a deletion by descriptor begins; a refused one gives the descriptor back.
  package enum Deletion: ~Copyable {
    case begun
    case unknown(OwnedFD)
    case wrongHandle(OwnedFD)
  }

  /// Takes the last handle back, as a descriptor of this identity; ``whenReclaimed(_:_:)`` tells the end,
  /// at once where this handle was the last. Where the deletion has begun before, it joins.
  package func delete(
    _ key: BufferKey, _ descriptor: consuming OwnedFD, _ identity: VMOIdentity
  ) -> Deletion {
    switch beginDeletion(key, identity, nil) {
    case .begun(let buffer):
      drop(consume descriptor, of: buffer)
      return .begun
    case .unknown: return .unknown(descriptor)
    case .wrongHandle: return .wrongHandle(descriptor)
    }
  }

  private enum Beginning {
    case begun(Buffer)
    case unknown
    case wrongHandle
  }

  /// - Parameter end: Who waits for the end; nil for one who joins a deletion that has begun before.
  private func beginDeletion(
    _ key: BufferKey, _ identity: VMOIdentity, _ end: DeletionEnd?
  ) -> Beginning {
    state.withLock { state in
      let found: Buffer
      switch (state.records[key]?.stage, end == nil) {
      case (.live(let buffer), _), (.deleting(let buffer), true): found = buffer
      case (.allocating, true): return .wrongHandle
      default: return .unknown
      }
      guard found.hasParent({ $0.identity == identity }) else { return .wrongHandle }
      state.records[key]?.stage = .deleting(found)
      if let end { state.records[key]?.deletions.append(end) }
      return .begun(found)
    }
  }

  /// Closes a handle and looks at its buffer, so that in the contract's own case, where the handle was
  /// the last, all is gone on return.
  ///
  /// Holds one more reference meanwhile, so that the close itself wakes nobody.
  private func drop<Handle: ~Copyable>(_ handle: consuming Handle, of buffer: Buffer) {
    buffer.beginLocalReference()
    _ = consume handle
    buffer.endLocalReferenceUnnoticed()
    reclaimer.core.look(at: buffer)
  }
}

/// The end of a deletion, awaited by who began it. It can come before that, on another thread.
private final class DeletionEnd: Sendable {
  private enum State {
    case pending
    case awaited(CheckedContinuation<Void, Never>)
    case come
  }

  private let state = Guarded(State.pending)

  func come() {
    let awaited: CheckedContinuation<Void, Never>? = state.withLock { state in
      defer { state = .come }
      if case .awaited(let continuation) = state { return continuation }
      return nil
    }
    awaited?.resume()
  }

  func wait() async {
    await withCheckedContinuation { continuation in
      let hasCome = state.withLock { state in
        if case .come = state { return true }
        state = .awaited(continuation)
        return false
      }
      if hasCome { continuation.resume() }
    }
  }
}

// Copies of parents' descriptors that are kept elsewhere, and are no children.

extension LiveBuffers {
  private func parent(_ identity: VMOIdentity) -> (any Parent)? {
    Buffer.of(identity)?.parents.first { $0.identity == identity }
  }

  /// Lends a live buffer's own descriptor, e.g. to send a copy of it.
  package func withParentDescriptor(_ identity: VMOIdentity, _ body: (CInt) -> Void) {
    parent(identity)?.withDescriptor(body)
  }

  /// Whether a copy of its parent's descriptor looks like a child (a dma-buf's) or not (a memfd's).
  package func countsReferences(_ identity: VMOIdentity) -> Bool {
    (try? parent(identity)?.referenceCount()) != nil
  }

  /// Takes every reference besides the parent and so many children for a copy.
  ///
  /// - Parameters:
  ///   - children: All there are; the caller has them.
  ///   - withdrawal: Has the copies closed. Called once, when nothing but them seems to be left.
  package func settleCopies(
    _ identity: VMOIdentity, besides children: Int, withdrawal: @escaping CleanupAction
  ) {
    guard let parent = parent(identity), let count = try? parent.referenceCount() else { return }
    Buffer.of(identity)?.setWithdrawal(withdrawal)
    parent.setCopies(max(0, count - 1 - children))
  }
}

extension LiveBuffers {
  /// Takes a buffer over whose parent another process kept, e.g. a server before this one.
  ///
  /// - Parameters:
  ///   - parent: A descriptor of the parent's own open file.
  ///   - copies: How many more of it there are that are no children.
  ///   - withdrawal: Has the copies closed. Called once, when nothing but them seems to be left.
  /// - Returns: Its size, and whether it has memory: an opaque vmo has none. Its children are looked for at
  ///   once.
  /// - Throws: ``HeapError/Code/alreadyExists`` while (collection, index) is taken,
  ///   ``HeapError/Code/wrongType`` for what is neither a dma-buf nor a memfd.
  package func takeOver(
    _ key: BufferKey, parent descriptor: consuming OwnedFD, copies: Int,
    withdrawal: @escaping CleanupAction, cleanup: [CleanupAction], admission: Admission,
    waiter: @escaping Waiter
  ) throws(HeapError) -> (byteCount: UInt64, hasMemory: Bool) {
    let operation = "take over buffer \(key.bufferIndex) of collection \(key.bufferCollectionID)"
    guard reserve(key) else {
      throw HeapError(.alreadyExists, operation, cause: "that buffer is live")
    }
    do throws(HeapError) {
      let (parent, size) = try inherited(descriptor, named: key.description, operation)
      parent.setCopies(copies)
      let buffer = Buffer(
        key, of: self, parent, byteCount: size, reclaimer: reclaimer.core,
        grant: admission.take(size), cleanup: cleanup)
      buffer.setWithdrawal(withdrawal)
      try attempt(operation) { () throws(Errno) in try reclaimer.core.add(buffer) }
      record(buffer)
      _ = whenReclaimed(parent.identity, waiter)
      reclaimer.core.check(buffer)
      return (size, parent.kind != .opaque)
    } catch {
      forget(key)
      throw error
    }
  }

  /// A parent that another process made, by what its descriptor tells.
  private func inherited(
    _ descriptor: consuming OwnedFD, named name: String, _ operation: String
  ) throws(HeapError) -> (any Parent, size: UInt64) {
    do throws(Errno) {
      if let (kind, size) = try VMO.examine(descriptor), size > 0 {
        if kind == .dmaBuf { return (try DMABufParent(descriptor, name: name), size) }
        return (try MemfdParent(inherited: descriptor, kind: kind), size)
      }
    } catch {
      throw HeapError(error, operation)
    }
    throw HeapError(.wrongType, operation, cause: "it is neither a dma-buf nor a memfd with a size")
  }
}

extension UInt64 {
  /// The size of an allocation in whole pages.
  package func checkedAsVmoSize() throws(HeapError) -> UInt64 {
    guard self > 0 else {
      throw HeapError(
        .invalidArgs, "allocate 0 bytes", cause: "a buffer has at least one page",
        fix: "ask for 1 byte or more")
    }
    guard let pages = roundedUpToPages else {
      throw HeapError(
        .outOfRange, "allocate \(self) bytes", cause: "rounded up to pages that is over 2^63 - 1")
    }
    return pages
  }
}
