internal import SystemPackage

/// A buffer's name within its heap.
public typealias BufferKey = BufferName

/// The buffers of one heap that are not fully reclaimed, by (collection, index).
///
/// It keeps the parents, gives out the first children, and forgets a buffer when the reclaimer has
/// taken it back.
public final class LiveBuffers: Sendable {
  enum Stage {
    /// The memory is being made; its (collection, index) is taken.
    case allocating
    case live(Buffer)
    /// `deleteVmo` has begun.
    case deleting(Buffer)
  }

  /// Called once, when all of a buffer is gone, on the thread that took it back, and before anyone else
  /// is told.
  package typealias Waiter = @Sendable () -> Void

  struct Record {
    var stage: Stage
    /// One, and one more for each isolated slice.
    var identities: [VMOIdentity] = []
    var waiters: [Waiter] = []
    /// Calls of `deleteVmo` that return then.
    var deletions: [Waiter] = []
  }

  struct State {
    var records: [BufferKey: Record] = [:]
    var keys: [VMOIdentity: BufferKey] = [:]
    var collections = CollectionLifetimes()

    func live(_ identity: VMOIdentity) -> (key: BufferKey, buffer: Buffer)? {
      guard let key = keys[identity], case .live(let buffer) = records[key]?.stage else {
        return nil
      }
      return (key, buffer)
    }
  }

  let state = Guarded(State())
  let reclaimer: Reclaimer

  /// - Parameter reclaimer: Whose thread watches the buffers.
  public init(reclaimer: Reclaimer = .shared) { self.reclaimer = reclaimer }

  /// Buffers that are not fully reclaimed.
  public var count: Int { state.withLock { $0.records.count } }

  // MARK: Coming

  /// What a heap makes for a new buffer.
  struct Memory: ~Copyable {
    let parent: any Parent
    /// The first child's descriptor.
    let child: OwnedFD
    let kind: VMO.Kind
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
      let kind = memory.kind
      let heapName = memory.heapName
      let identity = memory.parent.identity
      let buffer = buffer(key, memory.parent, size, memory.grant, cleanup)
      // The child counts as a reference here, so the buffer cannot go before it is on record.
      let child = ChildFD(memory.child, of: buffer)
      try attempt(operation()) { () throws(Errno) in try reclaimer.core.add(buffer) }
      memory.grant.settle()
      record(key, buffer, identity)
      return VMO(
        child, kind: kind, identity: identity, offset: 0, byteCount: size, heapName: heapName)
    } catch {
      forget(key)
      throw error
    }
  }

  func buffer(
    _ key: BufferKey, _ parent: any Parent, _ size: UInt64, _ grant: Admission.Grant,
    _ cleanup: [CleanupAction]
  ) -> Buffer {
    Buffer(parent, byteCount: size, reclaimer: reclaimer.core, cleanup: cleanup) { [self] in
      grant.giveBack()
      forget(key)
    }
  }

  func reserve(_ key: BufferKey) -> Bool {
    state.withLock { state in
      guard state.records[key] == nil else { return false }
      state.records[key] = Record(stage: .allocating)
      state.collections.begin(key.bufferCollectionID)
      return true
    }
  }

  func record(_ key: BufferKey, _ buffer: Buffer, _ identity: VMOIdentity) {
    state.withLock { state in
      state.records[key] = Record(stage: .live(buffer), identities: [identity])
      state.keys[identity] = key
    }
  }

  /// Adds a child with an identity of its own to a live buffer; it shares the buffer's lifetime.
  ///
  /// - Parameter make: Gets the parent of `vmo`, gives the new child and the child's parent.
  func addChild(
    to vmo: borrowing VMO, _ operation: String,
    make: (_ parent: any Parent, Buffer) throws(HeapError) -> NewChild
  ) throws(HeapError) -> VMO {
    let identity = vmo.identity
    guard let buffer = state.withLock({ $0.live(identity)?.buffer }),
      let parent = buffer.parents.first(where: { $0.identity == identity })
    else { throw Self.notLive(operation) }
    let new = try make(parent, buffer)
    let added = new.parent
    // `vmo` is borrowed until here, so the buffer cannot have been reclaimed; its deletion can have
    // begun, and will wait for the new child as it waits for all.
    buffer.add(added)
    state.withLock { state in
      guard let key = state.keys[identity] else { return }
      state.records[key]?.identities.append(added.identity)
      state.keys[added.identity] = key
    }
    return new.vmo
  }

  struct NewChild: ~Copyable {
    let parent: any Parent
    let vmo: VMO
  }

  // MARK: Asking

  func info(of vmo: borrowing VMO) throws(HeapError) -> BufferKey {
    let identity = vmo.identity
    guard let key = state.withLock({ $0.live(identity)?.key }) else {
      throw Self.notLive("ask which buffer a vmo is of")
    }
    return key
  }

  /// What the kernel counts on a buffer: every reference in the whole system, the parent's own
  /// included. Nil for a memfd, and once the buffer is reclaimed or its deletion has begun.
  public func referenceCount(of key: BufferKey) throws(HeapError) -> Int? {
    let buffer: Buffer? = state.withLock { state in
      guard case .live(let buffer) = state.records[key]?.stage else { return nil }
      return buffer
    }
    return try attempt("count a buffer's references") { () throws(Errno) in
      try buffer?.parents.first?.referenceCount()
    }
  }

  /// The buffer that a descriptor of this identity is of; nil where there is none, and once its
  /// deletion has begun.
  package func key(of identity: VMOIdentity) -> BufferKey? {
    state.withLock { $0.live(identity)?.key }
  }

  /// The same, until the buffer is fully reclaimed.
  package func keyUntilReclaimed(of identity: VMOIdentity) -> BufferKey? {
    state.withLock { $0.keys[identity] }
  }

  /// The identity of a live or deleted buffer's first parent.
  package func identity(of key: BufferKey) -> VMOIdentity? {
    state.withLock { $0.records[key]?.identities.first }
  }

  /// Has `waiter` called when all of the buffer is gone.
  ///
  /// False where there is no such buffer: gone already, or of another heap.
  package func whenReclaimed(_ identity: VMOIdentity, _ waiter: @escaping Waiter) -> Bool {
    state.withLock { state in
      guard let key = state.keys[identity] else { return false }
      state.records[key]?.waiters.append(waiter)
      return true
    }
  }

  private static func notLive(_ operation: String) -> HeapError {
    HeapError(
      .notFound, operation,
      cause: "the vmo is of no live buffer of this heap, or its deletion has begun")
  }

  // MARK: Going

  func forget(_ key: BufferKey) {
    let (record, due) = state.withLock { state in
      let record = state.records.removeValue(forKey: key)
      for identity in record?.identities ?? [] { state.keys[identity] = nil }
      return (record, state.collections.end(key.bufferCollectionID))
    }
    for waiter in record?.waiters ?? [] { waiter() }
    for tracker in due { tracker.close() }
    for deletion in record?.deletions ?? [] { deletion() }
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
