internal import HeapProtocol
internal import LinuxHeaps

/// The buffers that one client allocated and that are not fully reclaimed.
final class RemoteBuffers: Sendable {
  /// One allocation; (collection, index) can be another's before this one's end is heard of.
  struct ID: Hashable { fileprivate let number: UInt64 }

  private struct Record {
    let key: BufferKey
    let identity: VMOIdentity
    /// Nil once it is being run.
    var cleanup: [CleanupAction]?
    var isDeleting = false
    /// Nothing but the answer to its deletion will tell of its end.
    var isUnwatched = false
    var waiters: [@Sendable () -> Void] = []
  }

  private struct State {
    var last: UInt64 = 0
    var records: [ID: Record] = [:]
    var identities: [VMOIdentity: ID] = [:]
  }

  private let state = Guarded(State())

  var count: Int { state.withLock { $0.records.count } }

  func insert(_ key: BufferKey, _ identity: VMOIdentity, _ cleanup: [CleanupAction]) -> ID {
    state.withLock { state in
      state.last += 1
      let id = ID(number: state.last)
      state.records[id] = Record(key: key, identity: identity, cleanup: cleanup)
      state.identities[identity] = id
      return id
    }
  }

  enum Deletion {
    case begun(ID)
    /// Not one of these: its server knows.
    case unknown
    case refused(HeapError.Code)
  }

  func beginDeletion(_ key: BufferKey, _ identity: VMOIdentity) -> Deletion {
    state.withLock { state in
      guard let id = state.identities[identity], let record = state.records[id] else {
        return .unknown
      }
      if record.key != key {
        let isLive = state.records.values.contains { $0.key == key }
        return .refused(isLive ? .badHandle : .notFound)
      }
      if record.isDeleting { return .refused(.notFound) }
      state.records[id]?.isDeleting = true
      return .begun(id)
    }
  }

  /// Calls `waiter` when the buffer's clean-up has run; at once where it has. The buffer's deletion is
  /// answered.
  func whenEnded(_ id: ID, _ waiter: @escaping @Sendable () -> Void) {
    let (waits, isUnwatched) = state.withLock { state in
      guard let record = state.records[id] else { return (false, false) }
      state.records[id]?.waiters.append(waiter)
      return (true, record.isUnwatched)
    }
    if isUnwatched { end(id) } else if !waits { waiter() }
  }

  /// The service will not tell of this buffer's end any more.
  func loseWatch(_ id: ID) {
    let isDeleted = state.withLock { state in
      state.records[id]?.isUnwatched = true
      return state.records[id]?.waiters.isEmpty == false
    }
    if isDeleted { end(id) }
  }

  /// The service has taken the buffer back. Nothing is done where that was said before.
  func end(_ id: ID) {
    let cleanup: [CleanupAction]? = state.withLock { state in
      let cleanup = state.records[id]?.cleanup
      state.records[id]?.cleanup = nil
      return cleanup
    }
    guard let cleanup else { return }
    for action in cleanup { action() }
    let waiters: [@Sendable () -> Void] = state.withLock { state in
      guard let record = state.records.removeValue(forKey: id) else { return [] }
      if state.identities[record.identity] == id { state.identities[record.identity] = nil }
      return record.waiters
    }
    for waiter in waiters { waiter() }
  }
}
