internal import CLinuxHeaps
internal import Dispatch
internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import SystemPackage

/// One socket of the service: requests go out from any thread, answers come in on the client's own.
final class Connection: Sendable {
  /// What comes of a request.
  enum Answer: Sendable {
    case message(MessageBox)
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

  let path: String
  private let socket: MessageSocket
  private let state = Guarded(State())

  init(to path: String) throws(HeapError) {
    self.path = path
    do throws(Errno) { socket = try UnixSocket.connect(path) } catch {
      throw HeapError(
        error, "connect to the heap service", at: path,
        fix: error == .permissionDenied
          ? "join the socket's group" : "start the service: heapd --socket PATH")
    }
  }

  var descriptor: CInt { socket.withDescriptor { $0 } }

  func hangUp() { socket.hangUp() }

  /// Hangs up as soon as nobody waits for an answer; true where that is now.
  func hangUpWhenIdle() -> Bool {
    let isIdle = state.withLock { state in
      state.hangsUpWhenIdle = true
      return state.waiting.isEmpty
    }
    if isIdle { hangUp() }
    return isIdle
  }

  // MARK: Asking

  /// Sends a request; `handler` gets the answer, on the client's thread.
  func send(
    passing handle: CInt? = nil, _ encode: (UInt32, inout [UInt8]) -> Void,
    _ handler: @escaping Handler
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
    encode(transaction, &message)
    do throws(Errno) {
      try socket.send(message, descriptors: handle.map { [$0] } ?? [])
    } catch {
      let handler = state.withLock { $0.waiting.removeValue(forKey: transaction) }
      handler?(.over(end))
    }
  }

  private var end: HeapError.Code { state.withLock { $0.end } ?? .peerClosed }

  /// Sends a request and waits for its answer.
  func ask(
    passing handle: CInt? = nil, _ operation: @autoclosure () -> String,
    _ encode: (UInt32, inout [UInt8]) -> Void
  ) throws(HeapError) -> MessageBox {
    let answer = Guarded<Answer?>(nil)
    let came = DispatchSemaphore(value: 0)
    send(passing: handle, encode) { message in
      answer.withLock { $0 = message }
      came.signal()
    }
    came.wait()
    switch answer.withLock({ $0 }) {
    case .message(let box): return box
    case .over(let code): throw over(code, operation())
    case nil: throw over(.internal, operation())
    }
  }

  func over(_ code: HeapError.Code, _ operation: String) -> HeapError {
    let (cause, fix): (String, String?) =
      switch code {
      case .peerClosed: ("the connection is closed", "connect again; the buffers are still there")
      case .accessDenied:
        ("the service does not serve this user", "have the user or a group of it put on its list")
      case .noResources: ("the service has no room for this connection", "close others")
      default: ("the service ended the connection with \(code)", nil)
      }
    return HeapError(code, operation, at: path, cause: cause, fix: fix)
  }

  // MARK: Hearing

  /// Receives one message and hands it on. False at the connection's end.
  func hear() -> Bool {
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
    return take(MessageBox(message))
  }

  private func take(_ message: MessageBox) -> Bool {
    guard let header = message.header else {
      finish(.internal)
      return false
    }
    if header.ordinal == .epitaph {
      finish(message.epitaph ?? .internal)
      return false
    }
    // An event after the first, or an answer that nobody asked for: not for this client.
    let (handler, isDone) = state.withLock { state in
      let handler = state.waiting.removeValue(forKey: header.transactionID)
      return (handler, state.hangsUpWhenIdle && state.waiting.isEmpty)
    }
    handler?(.message(message))
    if isDone { hangUp() }
    return true
  }

  /// The first message of the Heap protocol; the client's thread does not listen yet.
  func firstMessage(_ operation: String) throws(HeapError) -> MessageBox {
    let message: MessageSocket.Message?
    do throws(Errno) { message = try socket.receive() } catch {
      throw HeapError(error, operation, at: path)
    }
    guard let message else { throw over(.peerClosed, operation) }
    let box = MessageBox(message)
    if let status = box.epitaph { throw over(status, operation) }
    return box
  }

  /// Whoever waits is told.
  private func finish(_ code: HeapError.Code) {
    let handlers = state.withLock { state in
      state.end = state.end ?? code
      defer { state.waiting = [:] }
      return Array(state.waiting.values)
    }
    for handler in handlers { handler(.over(code)) }
  }
}
