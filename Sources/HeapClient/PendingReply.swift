internal import Dispatch
internal import HeapProtocol
internal import LinuxHeaps
internal import SystemPackage

/// What comes of a request.
enum Answer: ~Copyable, Sendable {
  case message(ReceivedMessage)
  /// The connection is over; the server's last word, where it had one.
  case over(HeapError.Code)
  case unsent(Errno)
}

/// A message on its way between threads; what it brought is closed with it.
struct ReceivedMessage: ~Copyable, Sendable {
  private let bytes: [UInt8]
  private var handles: ReceivedDescriptors
  private let handleCount: Int

  init(_ bytes: [UInt8], _ handles: consuming ReceivedDescriptors) {
    self.bytes = bytes
    handleCount = handles.count
    self.handles = handles
  }

  /// Nil for a message of another form.
  func decode<Message: WireMessage>(as type: Message.Type) -> Message? {
    try? Message(decoding: unsafe bytes.span.bytes, handleCount: handleCount)
  }

  mutating func takeHandle(_ index: HandleIndex) -> OwnedFD { handles.take(at: index.rawValue) }
}

/// Who waits, on a thread or in a task.
enum Waiter: Sendable {
  case thread(DispatchSemaphore)
  case task(CheckedContinuation<Void, Never>)

  func wake() {
    switch self {
    case .thread(let semaphore): semaphore.signal()
    case .task(let continuation): continuation.resume()
    }
  }
}

/// One request's answer: set by whoever receives it, awaited by one caller, on a thread or without.
///
/// The answer stays under the lock, and what wakes the waiter carries nothing: ThreadSanitizer does not see
/// what Dispatch and Swift's concurrency hand over.
final class PendingReply: Sendable {
  private struct State: ~Copyable {
    var answer: Answer?
    var waiter: Waiter?
    /// Nobody waits any more: an answer that still comes is dropped, and closes what it brought.
    var isAbandoned = false

    var isSettled: Bool {
      switch answer {
      case .some: true
      case .none: isAbandoned
      }
    }
  }

  let deadline: MonotonicTime?
  /// Done where the reply is received, also too late for who waited.
  let onReply: (@Sendable () -> Void)?
  private let state = Guarded(State())

  init(deadline: MonotonicTime?, onReply: (@Sendable () -> Void)? = nil) {
    self.deadline = deadline
    self.onReply = onReply
  }

  var isSettled: Bool { state.withLock { $0.isSettled } }

  /// Answers whom to wake; the caller does it where it holds up nobody.
  func set(_ answer: consuming Answer) -> Waiter? {
    var answer: Answer? = consume answer
    return state.withLock { state in
      if !state.isAbandoned { state.answer = answer.take() }
      return state.waiter.take()
    }
  }

  /// The deadline has passed. Answers whom to wake.
  func expire() -> Waiter? {
    state.withLock { state in
      if state.isSettled { return nil }
      state.isAbandoned = true
      return state.waiter.take()
    }
  }

  /// Nil where there is none, and none is waited for any more.
  func take() -> Answer? {
    state.withLock { state in
      state.isAbandoned = true
      return state.answer.take()
    }
  }

  /// Blocks the thread until another has set the answer. Nil at the deadline.
  func wait() -> Answer? {
    let came = DispatchSemaphore(value: 0)
    let waits = state.withLock { state in
      if state.isSettled { return false }
      state.waiter = .thread(came)
      return true
    }
    if waits {
      if let deadline { _ = came.wait(timeout: deadline.asDispatchTime) } else { came.wait() }
    }
    return take()
  }

  /// Nil where it was expired.
  func get() async -> Answer? {
    if isSettled { return take() }
    await withCheckedContinuation { continuation in
      let waits = state.withLock { state in
        if state.isSettled { return false }
        state.waiter = .task(continuation)
        return true
      }
      if !waits { continuation.resume() }
    }
    return take()
  }
}

extension MonotonicTime {
  fileprivate var asDispatchTime: DispatchTime {
    let now = MonotonicTime.now
    let rest = self > now ? nanoseconds - now.nanoseconds : 0
    return .now() + .nanoseconds(Int(clamping: rest))
  }
}
