internal import HeapProtocol
internal import LinuxHeaps

/// The answer to a deletion, for who waits without a thread.
///
/// It stays under the lock, and the continuation carries nothing: ThreadSanitizer does not see what
/// Swift's concurrency hands over.
final class Reply: Sendable {
  private struct State {
    var answer: Connection.Answer?
    var waiter: CheckedContinuation<Void, Never>?
  }

  private let state = Guarded(State())

  func come(_ answer: Connection.Answer) {
    let waiter = state.withLock { state in
      state.answer = answer
      return state.waiter
    }
    waiter?.resume()
  }

  func wait(_ operation: String, _ connection: Connection) async throws(HeapError) {
    await withCheckedContinuation { continuation in
      let hasCome = state.withLock { state in
        if state.answer != nil { return true }
        state.waiter = continuation
        return false
      }
      if hasCome { continuation.resume() }
    }
    switch state.withLock({ $0.answer }) {
    case .message(let message):
      if message.decode(as: DeleteVmoReply.self) == nil {
        throw RemoteError.nonsense(operation, connection.path)
      }
    case .over(let code): throw connection.over(code, operation)
    case nil: throw connection.over(.internal, operation)
    }
  }
}
