internal import HeapProtocol
internal import LinuxHeaps

/// The answer to a deletion, for who waits without a thread.
final class Reply: Sendable {
  private enum State {
    case pending
    case waiting(CheckedContinuation<Connection.Answer, Never>)
    case come(Connection.Answer)
  }

  private let state = Guarded(State.pending)

  func come(_ answer: Connection.Answer) {
    let waiter: CheckedContinuation<Connection.Answer, Never>? = state.withLock { state in
      defer { state = .come(answer) }
      if case .waiting(let continuation) = state { return continuation }
      return nil
    }
    waiter?.resume(returning: answer)
  }

  func wait(_ operation: String, _ connection: Connection) async throws(HeapError) {
    let answer = await withCheckedContinuation { continuation in
      let come: Connection.Answer? = state.withLock { state in
        if case .come(let answer) = state { return answer }
        state = .waiting(continuation)
        return nil
      }
      if let come { continuation.resume(returning: come) }
    }
    guard case .message(let message) = answer else {
      if case .over(let code) = answer { throw connection.over(code, operation) }
      return
    }
    let reply = message.decode(as: DeleteVmoReply.self)
    if reply == nil { throw RemoteError.nonsense(operation, connection.path) }
  }
}
