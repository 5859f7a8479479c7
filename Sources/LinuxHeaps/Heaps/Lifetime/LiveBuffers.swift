internal import CLibrary
internal import Synchronization
internal import SystemPackage

/// The buffers of one heap that are not fully reclaimed, by (collection, index).
///
/// Their records are its reclaimer's; this is the heap's side of them.
public final class LiveBuffers: Sendable {
  let core: ReclaimerCore
  private let number = HeapNumber.next()

  /// - Parameter reclaimer: Whose thread watches the buffers.
  public convenience init(reclaimer: Reclaimer = .shared) {
    self.init(reclaimer: reclaimer) {}
  }

  /// - Parameter whenIdle: Called when no buffer of the reclaimer's was there for a second, to close what is kept open
  ///   for the next.
  init(reclaimer: Reclaimer, whenIdle: @escaping @Sendable () -> Void) {
    core = reclaimer.core
    core.idle.register(ObjectIdentifier(self), whenIdle)
  }

  deinit { core.idle.remove(ObjectIdentifier(self)) }

  /// Buffers that are not fully reclaimed.
  public var count: Int { core.withTable { [number] in $0.count(of: number) } }

  // MARK: Coming

  /// Makes a buffer live. `make` is not called where (collection, index) is taken, and once more where it finds no memory:
  /// that of a descriptor that was closed just before comes back a little later.
  ///
  /// - Parameter size: Bytes.
  func allocate(
    _ key: BufferKey, size: UInt64, settings: SingleBufferSettings, cleanup: [CleanupAction],
    make: (borrowing BufferRequest) throws(HeapError) -> BufferMemory
  ) throws(HeapError) -> VMO {
    let request = BufferRequest(
      key: key, size: try size.checkedAsVmoSize(), settings: settings)
    guard let place = reserve(key) else {
      throw HeapError(
        .alreadyExists, request.operation,
        cause: "buffer \(key.bufferIndex) of collection \(key.bufferCollectionID) is live")
    }
    do throws(HeapError) {
      let memory: BufferMemory
      do throws(HeapError) { memory = try make(request) } catch  where error.code == .noMemory {
        core.takeBackEnded()
        memory = try make(request)
      }
      return try settle(place, memory, request, cleanup)
    } catch {
      core.cancel(place)
      throw error
    }
  }

  private func reserve(_ key: BufferKey) -> Int? {
    core.withTable { [number] in $0.reserve(key, in: number) }
  }

  private func settle(
    _ place: Int, _ memory: consuming BufferMemory, _ request: borrowing BufferRequest,
    _ cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    let (parent, heapName) = (memory.parent, memory.heapName)
    try Self.checkUnshared(parent, request)
    let buffer = Buffer(
      core, hasCleanup: !cleanup.isEmpty, isReported: parent.watchedDescriptor != nil)
    // The child counts as a reference here, so the buffer cannot go before it is on record.
    let child = ChildFD(
      try attempt(request.operation) { () throws(Errno) in try parent.openChild() }, of: buffer)
    let charge = memory.grant.settled()
    do throws(Errno) {
      try core.settle(place, buffer, parent, charge, cleanup)
    } catch {
      charge.end()
      throw HeapError(error, request.operation)
    }
    return VMO(
      fd: child, kind: parent.kind, identity: parent.identity, offset: 0,
      byteCount: request.size, heapName: heapName)
  }

  /// Whether a new buffer was seen to have no holder but its parent.
  private static let areUnshared = Atomic(false)

  /// A service whose buffers are handed out in place of a node's (liblinuxheaps-preload.so) holds each until this process lets go of it,
  /// which would wait for the service.
  private static func checkUnshared(
    _ parent: any Parent, _ request: borrowing BufferRequest
  ) throws(HeapError) {
    if areUnshared.load(ordering: .relaxed) { return }
    // Who lists the machine's buffers holds each for a moment.
    for _ in 0..<10 {
      let count = try attempt(request.operation) { () throws(Errno) in
        try parent.referenceCount()
      }
      guard let count else { return }
      if count <= 1 { return areUnshared.store(true, ordering: .relaxed) }
      usleep(1000)
    }
    throw HeapError(
      .notSupported, request.operation,
      cause: "another process holds the new buffer, whose end could not be told",
      fix: "allocate from the heap service by its socket, and not through heapctl run")
  }

  // MARK: Asking

  /// The buffer that a vmo is of.
  func live(
    _ vmo: borrowing VMO, _ operation: @autoclosure () -> String
  ) throws(HeapError) -> (key: BufferKey, buffer: Buffer) {
    let found = record(vmo.identity) { record in
      record.state == .live ? record.buffer.map { (record.key, $0) } : nil
    }
    if let found { return found }
    throw HeapError(
      .notFound, operation(),
      cause: "the vmo is of no live buffer of this heap, or its deletion has begun",
      fix: HeapError.deletionAdvice)
  }

  /// Reads this heap's record of that identity.
  private func record<Result: Sendable>(
    _ identity: VMOIdentity, _ body: (BufferTable.Record) -> Result?
  ) -> Result? {
    core.withTable { [number] table in
      guard let place = table.place(of: identity), table[place].heap == number else { return nil }
      return body(table[place])
    }
  }

  private func record<Result: Sendable>(
    _ key: BufferKey, _ body: (BufferTable.Record) -> Result?
  ) -> Result? {
    core.withTable { [number] table in table.place(of: key, in: number).flatMap { body(table[$0]) }
    }
  }

  /// What the kernel counts on a buffer: every reference in the whole system, the parent's own
  /// included. Nil for a memfd, and once the buffer is reclaimed or its deletion has begun.
  public func referenceCount(of key: BufferKey) throws(HeapError) -> Int? {
    // In the lock, because the parent must not be held where it is to close.
    let count: Result<Int?, Errno>? = record(key) { record in
      guard record.state == .live, let parent = record.family.first else { return nil }
      return Result { () throws(Errno) in try parent.referenceCount() }
    }
    return try attempt("count a buffer's references") { () throws(Errno) in try count?.get() }
  }

  /// The buffer that a descriptor of this identity is of; nil where there is none, and once its
  /// deletion has begun.
  package func key(of identity: VMOIdentity) -> BufferKey? {
    record(identity) { $0.state == .live ? $0.key : nil }
  }

  /// The same, as long as there are children.
  package func keyUntilReclaimed(of identity: VMOIdentity) -> BufferKey? {
    record(identity) { $0.key }
  }

  /// Has `waiter` called once, when all of the buffer is gone, on the thread that took it back, and before anyone else is
  /// told.
  ///
  /// False where there is no such buffer: gone already, or of another heap.
  package func whenReclaimed(_ identity: VMOIdentity, _ waiter: @escaping @Sendable () -> Void)
    -> Bool
  {
    core.withTable { [number] table in
      guard let place = table.place(of: identity), table[place].heap == number else { return false }
      table.wait(place, waiter)
      return true
    }
  }

  func attachLifetimeTracking(
    _ descriptor: consuming OwnedFD, bufferCollectionID: UInt64, buffersRemaining: UInt32
  ) {
    let tracker = LifetimeTracker(descriptor, buffersRemaining: buffersRemaining)
    let isDue = core.withTable { [number] in $0.attach(tracker, to: bufferCollectionID, of: number)
    }
    if isDue { tracker.close() }
  }
}

// Handles that come back.

extension LiveBuffers {
  func delete(_ key: BufferKey, _ vmo: consuming VMO) async throws(HeapError) {
    let end = DeletionEnd()
    let notice = try delete(key, vmo, end)
    await end.wait()
    notice?.cancel()
  }

  /// Blocks its thread, which turns the reclaimer meanwhile where that has none of its own.
  func deleteAndBlock(_ key: BufferKey, _ vmo: consuming VMO) throws(HeapError) {
    let end = DeletionEnd()
    let wakeUp: WakeUp
    do throws(Errno) { wakeUp = try WakeUp() } catch {
      throw HeapError(
        HeapError.Code(error), "delete a vmo", cause: error.description, errno: error,
        fix: HeapError.usualFix(error), returning: ReturnedVMO(vmo))
    }
    let notice = try delete(key, vmo, end)
    end.whenCome { wakeUp.signal() }
    while !end.hasCome {
      var waits = [pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0)]
      if let loop = core.loop {
        waits.append(pollfd(fd: loop.descriptor, events: Int16(POLLIN), revents: 0))
      }
      unsafe poll(&waits, nfds_t(waits.count), -1)
      if let loop = core.loop { core.turn(in: loop) }
    }
    notice?.cancel()
  }

  /// Begins a deletion, whose end is told to `end`; what it answers tells the log in a second that it waits for this process.
  private func delete(
    _ key: BufferKey, _ vmo: consuming VMO, _ end: DeletionEnd
  ) throws(HeapError) -> WaitingDeletion.Notice? {
    switch beginDeletion(key, vmo.identity, end) {
    case .begun(let buffer):
      drop(consume vmo, of: buffer)
      return buffer.isReferencedHere
        ? WaitingDeletion.notice(key) { buffer.isReferencedHere } : nil
    case let refusal:
      let isUnknown = if case .wrongHandle = refusal { false } else { true }
      throw HeapError(
        isUnknown ? .notFound : .badHandle,
        "delete buffer \(key.bufferIndex) of collection \(key.bufferCollectionID)",
        cause: isUnknown
          ? "this heap has no such buffer, or its deletion has begun"
          : "the vmo is another buffer's", fix: HeapError.deletionAdvice,
        returning: ReturnedVMO(vmo))
    }
  }

  private enum Beginning {
    case begun(Buffer)
    case unknown
    case wrongHandle
  }

  private func beginDeletion(
    _ key: BufferKey, _ identity: VMOIdentity, _ end: DeletionEnd
  ) -> Beginning {
    core.withTable { [number] table in
      let place = table.place(of: key, in: number)
      switch table.beginDeletion(place, identity, end) {
      case .begun: return .begun(table[place!].buffer!)
      case .unknown: return .unknown
      case .wrongHandle: return .wrongHandle
      }
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
    core.look(at: buffer)
  }
}

/// The end of a deletion, awaited by who began it. It can come before that, on another thread.
package final class DeletionEnd: Sendable {
  private enum State {
    case pending
    case awaited(@Sendable () -> Void)
    case come
  }

  private let state = Guarded(State.pending)

  var hasCome: Bool {
    state.withLock { state in
      if case .come = state { true } else { false }
    }
  }

  func come() {
    let awaited: (@Sendable () -> Void)? = state.withLock { state in
      defer { state = .come }
      if case .awaited(let action) = state { return action }
      return nil
    }
    awaited?()
  }

  /// Calls `action` once, at once where the end has come.
  func whenCome(_ action: @escaping @Sendable () -> Void) {
    let hasCome = state.withLock { state in
      if case .come = state { return true }
      state = .awaited(action)
      return false
    }
    if hasCome { action() }
  }

  func wait() async {
    await withCheckedContinuation { continuation in whenCome { continuation.resume() } }
  }
}
