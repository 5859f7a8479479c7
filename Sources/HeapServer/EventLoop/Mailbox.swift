internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// What other threads tell the event loop, in the order of telling.
final class Mailbox<Message: Sendable>: Sendable {
  private struct State {
    var messages: [Message] = []
    var reader: pthread_t?
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
}
