internal import Dispatch
internal import HeapProtocol
internal import LinuxHeaps
internal import SystemPackage

/// The buffers that one client allocated and that are not fully reclaimed.
final class RemoteBuffers: Sendable {
  /// One allocation; its (collection, index) can be another's while it is cleaned up.
  struct ID: Hashable { fileprivate let number: UInt64 }

  private struct Record {
    let id: ID
    let identity: VMOIdentity
    let cleanup: [CleanupAction]
    var isDeleting = false
  }

  private struct State {
    var last: UInt64 = 0
    /// Those that the service has not taken back.
    var records: [BufferKey: Record] = [:]
    /// Those of them that have something to clean up.
    var withCleanup = 0
    /// Those whose clean-up actions have not all run, and who waits for that.
    var ending: [ID: [Waiter]] = [:]
    /// Their clean-up actions.
    var queue: [(ID, [CleanupAction])] = []
    /// A thread takes from the queue, or is told of what comes, or who waits for an end does it.
    var isRunning = false
    /// Called once where no event is waited for any more.
    var onIdle: (@Sendable () -> Void)?

    /// Whether the caller is to run clean-up actions.
    mutating func startsRunning() -> Bool {
      defer { isRunning = isRunning || !queue.isEmpty }
      return !isRunning && !queue.isEmpty
    }
  }

  private let state = Guarded(State())
  /// Tells the thread that something is in the queue.
  private let hasCome = DispatchSemaphore(value: 0)

  var count: Int { state.withLock { $0.records.count + $0.ending.count } }

  /// The caller has the vmo, so the service has not taken the buffer back.
  func insert(_ key: BufferKey, _ identity: VMOIdentity, _ cleanup: [CleanupAction]) {
    state.withLock { state in
      state.last += 1
      state.records[key] = Record(
        id: ID(number: state.last), identity: identity, cleanup: cleanup)
      if !cleanup.isEmpty { state.withCleanup += 1 }
    }
  }

  // MARK: Deletion

  enum Deletion {
    case begun(ID)
    /// Not one of these: its server knows.
    case unknown
    case refused(HeapError.Code)
  }

  func beginDeletion(_ key: BufferKey, _ identity: VMOIdentity) -> Deletion {
    state.withLock { state in
      let record = state.records[key]
      if let record, record.identity == identity {
        if record.isDeleting { return .refused(.notFound) }
        state.records[key]?.isDeleting = true
        return .begun(record.id)
      }
      guard state.records.values.contains(where: { $0.identity == identity }) else {
        return .unknown
      }
      return .refused(record == nil ? .notFound : .badHandle)
    }
  }

  /// Begins the deletion by a vmo that the service knows to be the buffer's, as a dma-buf made of a part of it is. Nil
  /// where the buffer is another client's.
  func beginDeletion(_ key: BufferKey) -> ID? {
    state.withLock { state in
      state.records[key]?.isDeleting = true
      return state.records[key]?.id
    }
  }

  /// Returns when the clean-up actions of a buffer have run that the service has taken back.
  func cleanedUp(_ id: ID) async {
    if !isEnding(id) { return }
    await withCheckedContinuation { wake(.task($0), after: id) }
  }

  func cleanedUp(_ id: ID) {
    if !isEnding(id) { return }
    let isDone = DispatchSemaphore(value: 0)
    wake(.thread(isDone), after: id)
    isDone.wait()
  }

  private func isEnding(_ id: ID) -> Bool {
    let (isEnding, runs) = state.withLock { ($0.ending[id] != nil, $0.startsRunning()) }
    // There was no thread for the actions.
    if runs { cleanUp() }
    return isEnding
  }

  private func wake(_ waiter: Waiter, after id: ID) {
    let waits = state.withLock { state in
      state.ending[id]?.append(waiter)
      return state.ending[id] != nil
    }
    if !waits { waiter.wake() }
  }

  // MARK: The end

  /// The service has taken the buffer back. Its clean-up actions run on another thread, because they may
  /// wait for what the caller has to receive.
  func end(_ key: BufferKey) {
    let (starts, onIdle) = state.withLock { state in
      guard let record = state.records.removeValue(forKey: key), !record.cleanup.isEmpty else {
        return (nil as Bool?, nil as (@Sendable () -> Void)?)
      }
      state.withCleanup -= 1
      state.ending[record.id] = []
      state.queue.append((record.id, record.cleanup))
      return (state.startsRunning(), state.withCleanup == 0 ? state.onIdle.take() : nil)
    }
    switch starts {
    case true?: startThread()
    case false?: hasCome.signal()
    case nil: break
    }
    onIdle?()
  }

  private func startThread() {
    do throws(Errno) { try KernelThread.start("heap-cleanup") { self.runForAWhile() } } catch {
      // Tried again at the next end, and by who waits for this one.
      state.withLock { $0.isRunning = false }
    }
  }

  /// Until nothing has come for a second: ends come in rows, and to start a thread takes longer than most actions.
  private func runForAWhile() {
    while true {
      cleanUp(stays: true)
      if hasCome.wait(timeout: .now() + .seconds(1)) == .success { continue }
      let isOver = state.withLock { state in
        state.isRunning = !state.queue.isEmpty
        return !state.isRunning
      }
      if isOver { return }
    }
  }

  private func cleanUp(stays: Bool = false) {
    while let (id, cleanup) = next(stays) {
      for action in cleanup { action() }
      for waiter in state.withLock({ $0.ending.removeValue(forKey: id) }) ?? [] { waiter.wake() }
    }
  }

  private func next(_ stays: Bool) -> (ID, [CleanupAction])? {
    state.withLock { state in
      state.isRunning = stays || !state.queue.isEmpty
      return state.queue.isEmpty ? nil : state.queue.removeFirst()
    }
  }

  /// Nobody will tell of ends any more, so what was to be done at them is let go.
  func abandonCleanup() {
    let records = state.withLock { state in
      defer {
        state.records = state.records.mapValues {
          Record(id: $0.id, identity: $0.identity, cleanup: [], isDeleting: $0.isDeleting)
        }
        state.withCleanup = 0
      }
      return state.records
    }
    // Outside of the lock: what actions hold may call this.
    _ = consume records
  }

  /// Calls `action` when the last of the buffers that have something to clean up has ended; false where there
  /// is none.
  func whenIdle(_ action: @escaping @Sendable () -> Void) -> Bool {
    state.withLock { state in
      if state.withCleanup > 0 { state.onIdle = action }
      return state.withCleanup > 0
    }
  }
}
