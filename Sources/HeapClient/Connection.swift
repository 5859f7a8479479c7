internal import CLibrary
internal import CLinuxHeaps
internal import Dispatch
internal import HeapProtocol
internal import LinuxHeaps
internal import SystemPackage

/// One socket of the service. Requests go out from any thread and wait for no room; who waits for an answer
/// receives for all, and where nobody does, the connection's own thread.
final class Connection: Sendable {
  /// Who may receive, one at a time: messages are taken in the order in which they were sent.
  private enum Receiver { case none, caller, thread }

  private enum Reception {
    case done(toWake: Waiter?)
    /// The connection is.
    case over(HeapError.Code)
  }

  private struct State {
    var lastTransaction: UInt32 = 0
    var pending: [UInt32: PendingReply] = [:]
    /// Those whose deadline is the thread's to keep. It is equally long for all: the oldest is the first to be due.
    var timed: [PendingReply] = []
    var receiver = Receiver.none
    var hasUnsent = false
    var end: HeapError.Code?
  }

  private struct Outlet {
    /// The message being encoded.
    var message: [UInt8] = []
    /// Messages that the socket had no room for, oldest first, each with what goes along.
    var unsent: [(bytes: [UInt8], handle: SharedFD?)] = []
  }

  private let path: String
  /// Whether it is the heap's and not the observer's.
  private let isPatient: Bool
  private let socket: OwnedFD
  private let poller: OwnedFD
  /// Tells the thread of a deadline.
  private let wakeUp: WakeUp
  private let timeout: Duration?
  private let onEvent: @Sendable (MessageOrdinal, RawSpan) -> Void
  private let onEnd: @Sendable () -> Void
  // The outlet's lock is taken before the state's.
  private let outlet = Guarded(Outlet())
  private let state = Guarded(State())
  private let input = Guarded(ReceiveBuffer(capacity: WireLimits.maxBytes))
  /// Nil where it was not started, 0 until it runs.
  private let thread = Guarded<UInt?>(nil)
  private let threadEnd = DispatchSemaphore(value: 0)

  /// - Parameters:
  ///   - timeout: How long a connection and each answer may take.
  ///   - isPatient: Whether to wait while the service does not accept its queue of connections.
  ///   - onEvent: Called in the order of arrival, by whoever receives; holds up all answers.
  ///   - onEnd: Called once, after the last event.
  init(
    to path: String, timeout: Duration?, isPatient: Bool,
    onEvent: @escaping @Sendable (MessageOrdinal, RawSpan) -> Void = { _, _ in },
    onEnd: @escaping @Sendable () -> Void = {}
  ) throws(HeapError) {
    self.path = path
    self.isPatient = isPatient
    self.timeout = timeout
    self.onEvent = onEvent
    self.onEnd = onEnd
    try UnixAddress.check(path, Self.connecting)
    do throws(Errno) {
      socket = try Self.connect(to: path, timeout, isPatient)
      poller = OwnedFD(adopting: try call { epoll_create1(CInt(EPOLL_CLOEXEC)) })
      wakeUp = try WakeUp()
    } catch .resourceTemporarilyUnavailable {
      throw HeapError(
        isPatient ? .timedOut : .shouldWait, Self.connecting, at: path,
        cause: "the service does not accept connections", fix: "try again")
    } catch {
      throw UnixAddress.refusal(
        error, Self.connecting, at: path,
        start: !isPatient
          ? "start the service again, or name its observer's socket"
          // heapd's sockets have files.
          : "start the service: heapd --socket \(path.hasPrefix("@") ? "PATH" : path.shellWord)",
        other: Self.otherPath)
    }
  }

  static let otherPath = "name heapd's socket, e.g. \(UnixAddress.heapService)"

  static let connecting = "connect to the heap service"

  /// A socket that does not block; connecting itself may, for as long as `SO_SNDTIMEO` says (socket(7)).
  private static func connect(
    to path: String, _ timeout: Duration?, _ isPatient: Bool
  ) throws(Errno) -> OwnedFD {
    let socket = try OwnedFD.unixSocket(SOCK_SEQPACKET, isBlocking: isPatient)
    let number = socket.rawValue
    if let timeout, isPatient {
      let (seconds, attoseconds) = timeout.components
      // All zeros would be for ever.
      var time = timeval(
        tv_sec: Int(seconds), tv_usec: max(Int(attoseconds / 1_000_000_000_000), 1))
      _ = try call {
        unsafe setsockopt(
          number, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
      }
    }
    _ = unsafe try UnixAddress.use(path) { address, length in
      unsafe CLibrary.connect(number, address, length)
    }.get()
    if isPatient { _ = try call { fcntl(number, F_SETFL, O_NONBLOCK) } }
    return socket
  }

  /// Nil while it is not over.
  var end: HeapError.Code? { state.withLock { $0.end } }

  func hangUp() { _ = shutdown(socket.rawValue, CInt(SHUT_RDWR)) }

  // MARK: Requests

  /// Sends a request and waits for its reply.
  func ask(
    _ request: some WireMessage, passing handle: CInt? = nil, _ operation: @autoclosure () -> String
  ) throws(HeapError) -> ReceivedMessage {
    try ask(passing: handle, operation()) { request.encode(transactionID: $0, into: &$1) }
  }

  /// Sends what `encode` makes of a transaction's number, and waits for its reply.
  func ask(
    passing handle: CInt? = nil, _ operation: @autoclosure () -> String,
    _ encode: (UInt32, inout [UInt8]) throws(WireError) -> Void
  ) throws(HeapError) -> ReceivedMessage {
    let reply = PendingReply(deadline: deadline)
    let receives: Bool
    do throws(WireError) { receives = try send(reply, .caller, handle, encode) } catch {
      throw unencodable(error, operation())
    }
    return try message(wait(for: reply, receives), operation())
  }

  /// Sends a request that takes a vmo along, and waits for its reply without the vmo.
  func ask(
    _ request: some WireMessage, giving vmo: consuming VMO, _ operation: @autoclosure () -> String,
    onReply: @escaping @Sendable () -> Void
  ) throws(HeapError) -> ReceivedMessage {
    let reply = PendingReply(deadline: deadline, onReply: onReply)
    let receives = vmo.withDescriptor { handle in
      send(reply, .caller, handle) { request.encode(transactionID: $0, into: &$1) }
    }
    _ = consume vmo
    return try message(wait(for: reply, receives), operation())
  }

  private func wait(for reply: PendingReply, _ receives: Bool) -> Answer? {
    if !receives { return reply.wait() }
    receive(until: reply)
    return reply.take()
  }

  /// Sends a request whose reply is awaited by ``answer(to:_:)``, and blocks for nothing.
  ///
  /// - Parameter onReply: Done where the reply is received, whether or not it is in time.
  func send(
    _ request: some WireMessage, passing handle: CInt? = nil,
    onReply: (@Sendable () -> Void)? = nil
  ) -> PendingReply {
    let reply = PendingReply(deadline: deadline, onReply: onReply)
    _ = send(reply, .thread, handle) { request.encode(transactionID: $0, into: &$1) }
    return reply
  }

  /// Sends what `encode` makes of a transaction's number, as a request.
  func send(
    passing handle: CInt? = nil, _ operation: @autoclosure () -> String,
    _ encode: (UInt32, inout [UInt8]) throws(WireError) -> Void
  ) throws(HeapError) -> PendingReply {
    let reply = PendingReply(deadline: deadline)
    do throws(WireError) { _ = try send(reply, .thread, handle, encode) } catch {
      throw unencodable(error, operation())
    }
    return reply
  }

  /// Waits for a reply without blocking the thread.
  func answer(
    to reply: PendingReply, _ operation: @autoclosure () -> String
  ) async throws(HeapError) -> ReceivedMessage {
    try message(await reply.get(), operation())
  }

  private var deadline: MonotonicTime? { timeout.map { .now.advanced(by: $0) } }

  /// True where the caller has become the receiver, until ``receive(until:)`` returns.
  private func send<Failure: Error>(
    _ reply: PendingReply, _ receiver: Receiver, _ handle: CInt?,
    _ encode: (UInt32, inout [UInt8]) throws(Failure) -> Void
  ) throws(Failure) -> Bool {
    guard let (transaction, receives) = enter(reply, receiver) else { return false }
    do throws(Failure) {
      try outlet.withLock { (outlet) throws(Failure) in
        try encode(transaction, &outlet.message)
        if let error = send(&outlet, handle) { fail(transaction, error) }
      }
    } catch {
      _ = state.withLock { $0.pending.removeValue(forKey: transaction) }
      if receives { stopReceiving() }
      throw error
    }
    return receives
  }

  /// Gives a request its number; nil where the connection is over, and the reply says so.
  ///
  /// A caller who is to wait receives if nobody does. That is decided before the request is sent: its answer
  /// shall not wake the thread.
  private func enter(_ reply: PendingReply, _ receiver: Receiver) -> (UInt32, receives: Bool)? {
    let (number, receives, end): (UInt32, Bool, HeapError.Code?) = state.withLock { state in
      if let end = state.end { return (0, false, end) }
      // 0 is for events, and one under way must not be used again.
      repeat {
        state.lastTransaction &+= 1
      } while state.lastTransaction == 0 || state.pending[state.lastTransaction] != nil
      state.pending[state.lastTransaction] = reply
      let receives = receiver == .caller && state.receiver == .none
      if receives {
        state.receiver = .caller
        setInterest(state)
      } else if receiver == .thread && timeout != nil {
        state.timed.append(reply)
        if state.timed.count == 1 { wakeUp.signal() }
      }
      return (state.lastTransaction, receives, nil)
    }
    guard let end else { return (number, receives) }
    _ = reply.set(.over(end))
    return nil
  }

  /// Sends the outlet's message, or keeps it until the service reads.
  private func send(_ outlet: inout Outlet, _ handle: CInt?) -> Errno? {
    if outlet.unsent.isEmpty {
      do throws(Errno) {
        try socket.borrowed.send(outlet.message, passing: handle)
        return nil
      } catch .resourceTemporarilyUnavailable {
        // Kept below.
      } catch .brokenPipe, .connectionReset {
        // The end is to be received, after what the service had sent before it.
        hangUp()
        return nil
      } catch {
        return error
      }
    }
    do throws(Errno) {
      // The caller's own is closed when it likes.
      let kept = try handle.map { (number) throws(Errno) in
        SharedFD(OwnedFD(adopting: try call { fcntl(number, F_DUPFD_CLOEXEC, 0) }))
      }
      outlet.unsent.append((outlet.message, kept))
    } catch {
      return error
    }
    setHasUnsent(true)
    return nil
  }

  private func setHasUnsent(_ hasUnsent: Bool) {
    state.withLock { state in
      state.hasUnsent = hasUnsent
      setInterest(state)
    }
  }

  private func fail(_ transaction: UInt32, _ error: Errno) {
    let reply = state.withLock { $0.pending.removeValue(forKey: transaction) }
    reply?.set(.unsent(error))?.wake()
  }

  // MARK: Receiving

  /// Receives for all until the reply is there, or its deadline.
  private func receive(until reply: PendingReply) {
    while !reply.isSettled, waitForMessage(until: reply.deadline),
      case .done(let waiter) = receive()
    {
      waiter?.wake()
    }
    stopReceiving()
  }

  private func stopReceiving() {
    state.withLock { state in
      state.receiver = .none
      setInterest(state)
    }
  }

  /// False where none came in time.
  private func waitForMessage(until deadline: MonotonicTime?) -> Bool {
    while true {
      let count = CLinuxHeaps_await_message(socket.rawValue, deadline?.nanosecondsFromNow ?? -1)
      // Else a signal cut it short.
      if count >= 0 { return count > 0 }
    }
  }

  /// Receives at most one message.
  private func receive() -> Reception {
    let reception = receiveMessage()
    // What is let go at the end may be of any kind, so nothing is locked here.
    if case .over(let code) = reception { finish(code) }
    return reception
  }

  private func receiveMessage() -> Reception {
    input.withLock { input in
      // ECONNRESET, of a service that closed with requests unread, is said once and before what it had
      // answered; then comes the end, as often as it is asked for.
      for _ in 0..<2 {
        switch input.receive(socket.borrowed) {
        case .message(let handles):
          let bytes = input.bytes
          return unsafe take(bytes.span.bytes.extracting(0..<input.count), handles)
        case .nothing: return .done(toWake: nil)
        case .end: continue
        case .truncated: return .over(.internal)
        }
      }
      return .over(.peerClosed)
    }
  }

  private func take(_ message: RawSpan, _ handles: consuming ReceivedDescriptors) -> Reception {
    guard let header = try? MessageHeader(decoding: message) else { return .over(.internal) }
    if header.ordinal == .epitaph {
      let epitaph = try? Epitaph(decoding: message, handleCount: handles.count)
      return .over(epitaph.map { HeapError.Code(rawValue: $0.status) } ?? .internal)
    }
    if header.transactionID == 0 {
      onEvent(header.ordinal, message)
      return .done(toWake: nil)
    }
    // Else it is a reply to no request.
    let reply = state.withLock { $0.pending.removeValue(forKey: header.transactionID) }
    reply?.onReply?()
    return .done(toWake: reply?.set(.message(ReceivedMessage(message.bytes, handles))))
  }

  /// All that wait are told.
  private func finish(_ code: HeapError.Code) {
    let (isFirst, pending) = state.withLock { state in
      defer {
        state.end = state.end ?? code
        state.pending = [:]
        state.timed = []
      }
      return (state.end == nil, Array(state.pending.values))
    }
    // What a deletion has passed on shall not outlive it here.
    outlet.withLock { $0.unsent = [] }
    if isFirst { onEnd() }
    for reply in pending { reply.set(.over(code))?.wake() }
  }

  // MARK: The thread

  /// From now on what arrives is received, whether or not somebody waits for it.
  func start() throws(HeapError) {
    try attempt(Self.connecting, at: path) { () throws(Errno) in
      try watch(socket.rawValue, bits(EPOLLIN))
      try watch(wakeUp.descriptor, bits(EPOLLIN))
      // Holds the connection as long as it runs, and not until it has ended: whoever joined it shall be the
      // last who does.
      let (end, connection) = (threadEnd, Guarded<Connection?>(self))
      thread.withLock { $0 = 0 }
      try KernelThread.start("heap-client") {
        connection.withLock { $0.take() }?.run()
        end.signal()
      }
    }
  }

  /// Waits until the thread is over, as it soon is after the connection; not where the caller is the thread.
  func join() {
    if let thread = thread.withLock({ $0 }), thread != CLinuxHeaps_this_thread() {
      threadEnd.wait()
    }
  }

  private func run() {
    thread.withLock { $0 = CLinuxHeaps_this_thread() }
    while true {
      let events = waitForEvents(until: nextDeadline())
      if events & bits(EPOLLOUT) != 0 { flush() }
      if events & ~bits(EPOLLOUT) != 0 && !receiveForAll() { return }
    }
  }

  /// False at the connection's end.
  private func receiveForAll() -> Bool {
    let receives = state.withLock { state in
      if state.receiver != .none { return false }
      state.receiver = .thread
      return true
    }
    // A caller came first.
    if !receives { return true }
    let reception = receive()
    // Before the waiter runs: it may have the next request.
    state.withLock { $0.receiver = .none }
    guard case .done(let waiter) = reception else { return false }
    waiter?.wake()
    return true
  }

  private func flush() {
    outlet.withLock { outlet in
      while let next = outlet.unsent.first {
        do throws(Errno) {
          try socket.borrowed.send(next.bytes, passing: next.handle?.fd.rawValue)
        } catch .resourceTemporarilyUnavailable {
          return
        } catch {
          hangUp()
        }
        outlet.unsent.removeFirst()
      }
      setHasUnsent(false)
    }
  }

  /// Lets those go whose deadline has passed; answers when the next one's does.
  private func nextDeadline() -> MonotonicTime? {
    if timeout == nil { return nil }
    let now = MonotonicTime.now
    let (due, next) = state.withLock { state in
      let due = state.timed.prefix { $0.isSettled || $0.deadline.map { $0 <= now } ?? true }
      state.timed.removeFirst(due.count)
      return (due, state.timed.first?.deadline)
    }
    for reply in due { reply.expire()?.wake() }
    return next
  }

  // MARK: epoll(7)

  /// What wakes the thread. It is not woken for messages that a caller receives.
  private func setInterest(_ state: State) {
    // A hang-up is reported whatever is asked for, and with EPOLLET only once.
    let reading = state.receiver == .caller ? bits(EPOLLET) : bits(EPOLLIN)
    let writing = state.hasUnsent ? bits(EPOLLOUT) : 0
    // Fails only where the thread does not run yet.
    _ = try? watch(socket.rawValue, reading | writing, EPOLL_CTL_MOD)
  }

  private func watch(
    _ descriptor: CInt, _ events: UInt32, _ operation: CInt = EPOLL_CTL_ADD
  ) throws(Errno) {
    let poller = self.poller.rawValue
    var event = unsafe epoll_event(events: events, data: epoll_data_t(fd: descriptor))
    _ = try call { unsafe epoll_ctl(poller, operation, descriptor, &event) }
  }

  /// What the socket is ready for; 0 at the deadline, and when the thread was woken for one.
  private func waitForEvents(until deadline: MonotonicTime?) -> UInt32 {
    var event = unsafe epoll_event()
    let count = unsafe epoll_wait(
      poller.rawValue, &event, 1, deadline?.millisecondsFromNow ?? -1)
    if count != 1 { return 0 }
    if unsafe event.data.fd == socket.rawValue { return unsafe event.events }
    wakeUp.clear()
    return 0
  }
}

extension MonotonicTime {
  /// 0 for what is past.
  fileprivate var nanosecondsFromNow: Int64 {
    let now = MonotonicTime.now
    return self > now ? Int64(clamping: nanoseconds - now.nanoseconds) : 0
  }
}

extension RawSpan {
  fileprivate var bytes: [UInt8] {
    unsafe withUnsafeBytes { unsafe Array($0) }
  }
}

// MARK: - Errors

extension Connection {
  /// Unwraps an answer; nil stands for none in time.
  func message(
    _ answer: consuming Answer?, _ operation: @autoclosure () -> String
  ) throws(HeapError) -> ReceivedMessage {
    switch consume answer {
    case .message(let message): return message
    case .over(let code): throw over(code, operation())
    case .unsent(let errno): throw HeapError(errno, operation(), at: path)
    case nil:
      throw error(
        .timedOut, operation(), cause: "no answer within \(timeout ?? .zero)",
        fix: "look into the service's log")
    }
  }

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

  /// A heap in this process has no such bounds.
  private func unencodable(_ error: WireError, _ operation: String) -> HeapError {
    self.error(
      .invalidArgs, operation, cause: "\(error.field) has more elements than a message can carry")
  }

  /// What a service answers in place of a buffer or of a response.
  func refusal(_ status: Int32, _ operation: String) -> HeapError {
    let code = HeapError.Code(rawValue: status)
    let info = "heapctl info --socket \(path.shellWord)"
    let (cause, fix): (String, String?) =
      switch code {
      case .noResources where isPatient:
        (
          "a quota of the service is used up, or it is out of descriptors",
          "close buffers; whose they are, and the limits: \(info)"
        )
      case .noResources:
        (
          "too many requests or reports of this user are pending, or a quota is used up",
          "wait for the answers, and close the reports; or ask as root"
        )
      case .noMemory:
        (
          "the heap, the machine or the service's quota cannot serve it",
          "ask for less, or close buffers" + (isPatient ? "; the limits: \(info)" : "")
        )
      case .alreadyExists: ("a buffer of that collection and index is live", nil)
      case .invalidArgs: ("a buffer has at least 1 byte", "ask for 1 byte or more")
      case .outOfRange: ("rounded up to pages that is over 2^63 - 1", "ask for less")
      case .accessDenied where isPatient:
        (
          "the service gives this user no memory of its own",
          "bring it: RemoteHeap(charging: .client)"
        )
      case .notSupported where isPatient && operation != Self.connecting:
        ("the service has no such memory", "\(info) tells what it serves")
      case .notSupported: ("the service has no such method", "use a service of the same version")
      default: ("the service refused; its log says why", nil)
      }
    return error(code, operation, cause: cause, fix: fix)
  }

  func over(_ code: HeapError.Code, _ operation: String) -> HeapError {
    let (cause, fix): (String, String?) =
      switch code {
      case .peerClosed where operation == Self.connecting:
        (
          "it was closed before it answered: is this heapd?",
          "\(Self.otherPath); its log says whom it ends"
        )
      case .peerClosed: ("the connection is closed", "connect again; the buffers are still there")
      case .accessDenied:
        (
          "the service does not serve this user",
          "add it to allow-users, or a group of it to allow-groups, in the service's configuration"
        )
      case .noResources:
        (
          "the service takes no more connections of this user, or of all",
          "close others"
            + (isPatient ? "; whose they are: sudo heapctl info --socket \(path.shellWord)" : "")
        )
      case .notSupported: ("the service has no such method", "use a service of the same version")
      default: ("the service ended the connection with \(code)", nil)
      }
    return error(code, operation, cause: cause, fix: fix)
  }
}
