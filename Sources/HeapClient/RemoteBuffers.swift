internal import HeapProtocol
internal import LinuxHeaps

/// The buffers that one client allocated and that are not fully reclaimed.
final class RemoteBuffers: Sendable {
  private struct Record {
    let identity: VMOIdentity
    /// Nil once it is being run.
    var cleanup: [CleanupAction]?
    var isDeleting = false
    /// Nobody will tell of its end.
    var isUnwatched = false
    var waiters: [@Sendable () -> Void] = []
  }

  private struct State {
    var records: [BufferKey: Record] = [:]
    var keys: [VMOIdentity: BufferKey] = [:]
    var isDropped = false
  }

  private let state = Guarded(State())

  var count: Int { state.withLock { $0.records.count } }

  func insert(_ key: BufferKey, _ identity: VMOIdentity, _ cleanup: [CleanupAction]) {
    state.withLock { state in
      state.records[key] = Record(identity: identity, cleanup: cleanup)
      state.keys[identity] = key
    }
  }

  enum Deletion {
    case begun
    /// Not one of these: its server knows.
    case unknown
    case refused(HeapError.Code)
  }

  func beginDeletion(_ key: BufferKey, _ identity: VMOIdentity) -> Deletion {
    state.withLock { state in
      guard let record = state.records[key] else {
        return state.keys[identity] == nil ? .unknown : .refused(.notFound)
      }
      if record.isDeleting { return .refused(.notFound) }
      if record.identity != identity { return .refused(.badHandle) }
      state.records[key]?.isDeleting = true
      return .begun
    }
  }

  /// Calls `waiter` when the buffer's clean-up has run, or nobody will have it run; at once where that
  /// is so.
  func whenEnded(_ key: BufferKey, _ waiter: @escaping @Sendable () -> Void) {
    let waits = state.withLock { state in
      guard state.records[key]?.isUnwatched == false else { return false }
      state.records[key]?.waiters.append(waiter)
      return true
    }
    if !waits { waiter() }
  }

  /// The connection that would have told of the buffer's end is over.
  func loseSight(of key: BufferKey) {
    let waiters: [@Sendable () -> Void] = state.withLock { state in
      let waiters = state.records[key]?.waiters ?? []
      state.records[key]?.isUnwatched = true
      state.records[key]?.waiters = []
      return waiters
    }
    for waiter in waiters { waiter() }
  }

  /// The service has taken the buffer back. Nothing is done where that was said before.
  func end(_ key: BufferKey) {
    let cleanup: [CleanupAction]? = state.withLock { state in
      let cleanup = state.records[key]?.cleanup
      state.records[key]?.cleanup = nil
      return cleanup
    }
    guard let cleanup else { return }
    for action in cleanup { action() }
    let waiters: [@Sendable () -> Void] = state.withLock { state in
      guard let record = state.records.removeValue(forKey: key) else { return [] }
      state.keys[record.identity] = nil
      return record.waiters
    }
    for waiter in waiters { waiter() }
  }
}
