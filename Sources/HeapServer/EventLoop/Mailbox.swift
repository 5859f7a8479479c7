internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// What the event loop is told, by other threads and by what it does itself.
enum Message: Sendable {
  case allocated(Ticket, Result<Allocation, HeapError>)
  case reported(connection: UInt64, transaction: UInt32, Result<Report, HeapError>)
  /// All of the buffer is gone.
  case reclaimed(BufferKey)
  /// A worker has taken one back, or found that it cannot; whoever waits for the last may go.
  case wentBack
  /// A search for the holders of deleted buffers has ended.
  case searched
  case reload(Policy)
  case stop
}

/// Messages to the event loop, oldest first.
final class Mailbox: Sendable {
  private struct State {
    var messages: [Message] = []
    var reader: pthread_t?
    var isClosed = false
  }

  private let state = Guarded(State())
  private let wakeUp: WakeUp

  init() throws(Errno) { wakeUp = try WakeUp() }

  /// Readable when there is a message from another thread.
  var descriptor: CInt { wakeUp.descriptor }

  /// Names the reader: what it posts itself it need not be woken for.
  func isReadHere() { state.withLock { $0.reader = pthread_self() } }

  func post(_ message: Message) {
    let wakes = state.withLock { state in
      if state.isClosed { return false }
      state.messages.append(message)
      return state.messages.count == 1 && state.reader != pthread_self()
    }
    if wakes { wakeUp.signal() }
  }

  func clear() { wakeUp.clear() }

  /// All messages, so that they can be answered by more.
  func take() -> [Message] {
    state.withLock { state in
      guard !state.messages.isEmpty else { return [] }
      defer { state.messages = [] }
      return state.messages
    }
  }

  /// Drops all messages, also those still to come: nobody reads any more.
  func close() {
    let rest = state.withLock { state in
      state.isClosed = true
      defer { state.messages = [] }
      return state.messages
    }
    withExtendedLifetime(rest) {}
  }
}
