internal import CLinuxHeaps
internal import Dispatch
internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import SystemPackage

/// One socket of the service: requests go out from any thread, replies come in on the client's own.
final class Connection: Sendable {
  /// What comes of a request.
  enum Answer: Sendable {
    case message(ReceivedMessage)
    /// The connection is over; the server's last word, where it had one.
    case over(HeapError.Code)
  }

  typealias Handler = @Sendable (Answer) -> Void

  private struct State {
    var lastTransaction: UInt32 = 0
    var waiting: [UInt32: Handler] = [:]
    var end: HeapError.Code?
    var hangsUpWhenIdle = false
  }

  private let path: String
  private let socket: MessageSocket
  private let state = Guarded(State())

  init(to path: String) throws(HeapError) {
    self.path = path
    do throws(Errno) { socket = try MessageSocket(connectedTo: path) } catch {
      throw HeapError(
        error, "connect to the heap service", at: path,
        fix: error == .permissionDenied
          ? "join the socket's group" : "start the service: heapd --socket PATH")
    }
  }

  var descriptor: CInt { socket.withDescriptor { $0 } }

  func hangUp() { socket.hangUp() }

  /// Hangs up as soon as nobody waits for a reply; true where that is now.
  func hangUpWhenIdle() -> Bool {
    let isIdle = state.withLock { state in
      state.hangsUpWhenIdle = true
      return state.waiting.isEmpty
    }
    if isIdle { hangUp() }
    return isIdle
  }

  // MARK: Requests

  /// Sends a request; `handler` gets the answer, on the client's thread.
  func send(
    _ request: some WireMessage, passing handle: CInt? = nil, _ handler: @escaping Handler
  ) {
    let transaction: UInt32? = state.withLock { state in
      guard state.end == nil else { return nil }
      // 0 is for events, and one under way must not be used again.
      repeat {
        state.lastTransaction &+= 1
      } while state.lastTransaction == 0
        || state.waiting[state.lastTransaction] != nil
      state.waiting[state.lastTransaction] = handler
      return state.lastTransaction
    }
    guard let transaction else { return handler(.over(end)) }
    var message: [UInt8] = []
    request.encode(transactionID: transaction, into: &message)
    do throws(Errno) {
      try socket.send(message, descriptors: handle.map { [$0] } ?? [])
    } catch {
      let handler = state.withLock { $0.waiting.removeValue(forKey: transaction) }
      handler?(.over(end))
    }
  }

  private var end: HeapError.Code { state.withLock { $0.end } ?? .peerClosed }

  /// Sends a request and waits for its reply.
  func ask(
    _ request: some WireMessage, passing handle: CInt? = nil, _ operation: @autoclosure () -> String
  ) throws(HeapError) -> ReceivedMessage {
    let answer = Guarded<Answer?>(nil)
    let came = DispatchSemaphore(value: 0)
    send(request, passing: handle) { message in
      answer.withLock { $0 = message }
      came.signal()
    }
    came.wait()
    return try message(answer.withLock { $0 }, operation())
  }

  func message(_ answer: Answer?, _ operation: String) throws(HeapError) -> ReceivedMessage {
    switch answer {
    case .message(let message): return message
    case .over(let code): throw over(code, operation)
    case nil: throw over(.internal, operation)
    }
  }

  // MARK: Errors

  func error(
    _ code: HeapError.Code, _ operation: String, cause: String, fix: String? = nil,
    returning vmo: ReturnedVMO? = nil
  ) -> HeapError {
    HeapError(code, operation, at: path, cause: cause, fix: fix, returning: vmo)
  }

  /// A message that cannot be decoded as what was expected.
  func malformed(_ operation: String) -> HeapError {
    error(
      .internal, operation, cause: "malformed reply", fix: "use a service of the same version")
  }

  /// What a service answers in place of a buffer or of a response.
  func refusal(_ status: Int32, _ operation: String) -> HeapError {
    let code = HeapError.Code(rawValue: status)
    let (cause, fix): (String, String?) =
      switch code {
      case .noResources:
        ("a quota of the service is used up", "close buffers; the service's log says which quota")
      case .noMemory: ("the heap, the machine or the budget cannot serve it", "close buffers")
      case .alreadyExists: ("a buffer of that collection and index is live", nil)
      case .invalidArgs: ("a buffer has at least one page", "ask for 1 byte or more")
      case .outOfRange: ("rounded up to pages that is over 2^63 - 1", nil)
      case .notSupported: ("the service has no such memory, or no such method", nil)
      default: ("the service refused; its log says why", nil)
      }
    return error(code, operation, cause: cause, fix: fix)
  }

  private func over(_ code: HeapError.Code, _ operation: String) -> HeapError {
    let (cause, fix): (String, String?) =
      switch code {
      case .peerClosed: ("the connection is closed", "connect again; the buffers are still there")
      case .accessDenied:
        ("the service does not serve this user", "add the user or a group of it to its list")
      case .noResources: ("the service has no room for this connection", "close others")
      default: ("the service ended the connection with \(code)", nil)
      }
    return error(code, operation, cause: cause, fix: fix)
  }

  // MARK: Receiving

  /// Receives one message and hands it on. False at the connection's end.
  func receive() -> Bool {
    let message: MessageSocket.Message?
    do throws(Errno) { message = try socket.receive() } catch .connectionReset {
      // The server closed with requests unread. It is said once; what was answered before is still to
      // be had, and then comes the end.
      return true
    } catch {
      message = nil
    }
    guard let message else {
      finish(.peerClosed)
      return false
    }
    return take(ReceivedMessage(message))
  }

  private func take(_ message: ReceivedMessage) -> Bool {
    guard let header = message.header else {
      finish(.internal)
      return false
    }
    if header.ordinal == .epitaph {
      finish(message.epitaph ?? .internal)
      return false
    }
    // An event after the first, or a reply to no request: not for this client.
    let (handler, isDone) = state.withLock { state in
      let handler = state.waiting.removeValue(forKey: header.transactionID)
      return (handler, state.hangsUpWhenIdle && state.waiting.isEmpty)
    }
    handler?(.message(message))
    if isDone { hangUp() }
    return true
  }

  /// The first message of the Heap protocol; the client's thread does not listen yet.
  func firstMessage(_ operation: String) throws(HeapError) -> ReceivedMessage {
    let received: MessageSocket.Message?
    do throws(Errno) { received = try socket.receive() } catch {
      throw HeapError(error, operation, at: path)
    }
    guard let received else { throw over(.peerClosed, operation) }
    let message = ReceivedMessage(received)
    if let status = message.epitaph { throw over(status, operation) }
    return message
  }

  /// All that wait are told.
  private func finish(_ code: HeapError.Code) {
    let handlers = state.withLock { state in
      state.end = state.end ?? code
      defer { state.waiting = [:] }
      return Array(state.waiting.values)
    }
    for handler in handlers { handler(.over(code)) }
  }
}

/// A message on its way between threads; what it brought is closed with it.
final class ReceivedMessage: Sendable {
  private let bytes: [UInt8]
  private let handleCount: Int
  private let message: Guarded<MessageSocket.Message>

  init(_ message: consuming MessageSocket.Message) {
    bytes = message.bytes
    handleCount = message.descriptors.count
    self.message = Guarded(message)
  }

  /// Nil for what has none.
  var header: MessageHeader? {
    let bytes = self.bytes
    return try? MessageHeader(decoding: unsafe bytes.span.bytes)
  }

  var epitaph: HeapError.Code? {
    decode(as: Epitaph.self).map { HeapError.Code(rawValue: $0.status) }
  }

  /// Nil for a message of another form.
  func decode<Message: WireMessage>(as type: Message.Type) -> Message? {
    let bytes = self.bytes
    return try? Message(decoding: unsafe bytes.span.bytes, handleCount: handleCount)
  }

  func takeHandle(_ index: HandleIndex) -> OwnedFD {
    message.withLock { $0.descriptors.take(at: index.rawValue) }
  }
}

/// The reply to a deletion, which is awaited without a thread.
///
/// It stays under the lock, and the continuation carries nothing: ThreadSanitizer does not see what
/// Swift's concurrency hands over.
final class AwaitedAnswer: Sendable {
  private struct State {
    var answer: Connection.Answer?
    var waiter: CheckedContinuation<Void, Never>?
  }

  private let state = Guarded(State())

  func set(_ answer: Connection.Answer) {
    let waiter = state.withLock { state in
      state.answer = answer
      return state.waiter
    }
    waiter?.resume()
  }

  func get() async -> Connection.Answer? {
    await withCheckedContinuation { continuation in
      let isSet = state.withLock { state in
        if state.answer != nil { return true }
        state.waiter = continuation
        return false
      }
      if isSet { continuation.resume() }
    }
    return state.withLock { $0.answer }
  }
}

/// Receives on two connections until both are over.
final class ReceivingThread: Sendable {
  private let end = DispatchSemaphore(value: 0)
  private let thread = Guarded<pthread_t?>(nil)

  init(_ connections: [Connection]) throws(Errno) {
    // The thread holds nothing of its owner, and shall be the last to hold a connection that is over.
    let (end, thread, connections) = (self.end, self.thread, Guarded(connections))
    try KernelThread.start("heap-client") {
      thread.withLock { $0 = pthread_self() }
      var open = connections.withLock { connections in
        defer { connections = [] }
        return connections
      }
      while !open.isEmpty {
        var events = open.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        unsafe poll(&events, nfds_t(events.count), -1)
        open = zip(open, events).filter { $1.revents == 0 || $0.receive() }.map(\.0)
      }
      end.signal()
    }
  }

  /// Waits until the sockets are closed; not where the caller is the thread itself.
  func join() {
    if thread.withLock({ $0 }) != pthread_self() { end.wait() }
  }
}
