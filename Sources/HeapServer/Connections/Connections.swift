internal import CLibrary
internal import CLinuxHeaps
internal import CoreMetrics
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// The clients that are connected: what they send is read, and what is sent to them written.
final class Connections {
  /// Those that are open, and those whose buffers have to be checked when the process ends.
  private var all: [UInt64: Connection] = [:]
  private var closed: [Connection] = []
  private var lastID: UInt64 = 0
  private var isStopping = false
  /// A look at sockets with answers is due at some time.
  private var looksForUnread = false
  private var input = ReceiveBuffer(capacity: WireLimits.maxBytes)
  /// The message being sent.
  private var output: [UInt8] = []
  private let shared: Shared

  init(_ shared: Shared) { self.shared = shared }

  /// Nil for one that is closed.
  subscript(id: UInt64) -> Connection? { all[id].flatMap { $0.isOpen ? $0 : nil } }

  var open: some Sequence<Connection> { all.values.lazy.filter(\.isOpen) }

  // MARK: Coming and going

  /// - Throws: What epoll_ctl(2) says; nothing is left of it then.
  func add(
    _ socket: ClientSocket, _ interface: Connection.Interface, _ peer: Peer, process: SharedFD?
  ) throws(Errno) {
    lastID += 1
    try shared.poller.add(socket.borrowed.rawValue, EventSource(.connection, lastID))
    if let process {
      do throws(Errno) {
        try shared.poller.add(process.fd.rawValue, EventSource(.process, lastID))
      } catch {
        // Until it is closed, which may be later, it would be reported at each turn.
        shared.poller.remove(socket.borrowed.rawValue)
        throw error
      }
    }
    let connection = Connection(
      lastID, interface, peer, shared.accounts.connect(peer), socket, process: process,
      shared.descriptors)
    all[lastID] = connection
    shared.log.debug("client connected", metadata: connection.metadata)
  }

  /// Frees nothing: buffers live until their last child goes.
  func close(_ connection: Connection) {
    guard let socket = connection.takeSocket() else { return }
    shared.poller.remove(socket.borrowed.rawValue)
    shared.deadlines.cancel(.stall(connection: connection.id))
    shared.deadlines.cancel(.heldUp(connection: connection.id))
    shared.accounts.disconnect(connection)
    closed.append(connection)
    if looksForUnread, !all.values.contains(where: \.isOpen) {
      looksForUnread = false
      shared.deadlines.cancel(.unread)
    }
    shared.log.debug("client disconnected", metadata: connection.metadata)
  }

  /// Those that were closed since the last time: for who has to look after what they leave.
  func takeClosed() -> [Connection] {
    if closed.isEmpty { return [] }
    defer { closed = [] }
    return closed
  }

  func closeAll() { for connection in Array(open) { close(connection) } }

  /// Nil where that was heard before.
  func processEnded(_ id: UInt64) -> Connection? {
    guard let connection = all[id] else { return nil }
    stopWatching(connection)
    forgetIfGone(connection)
    return connection
  }

  private func stopWatching(_ connection: Connection) {
    if let process = connection.takeProcess() { shared.poller.remove(process.fd.rawValue) }
  }

  /// Its process is watched as long as it may hold what the kernel does not report.
  func forgetIfGone(_ connection: Connection) {
    guard !connection.isOpen, connection.process == nil || connection.unreportedBuffers == 0 else {
      return
    }
    stopWatching(connection)
    all[connection.id] = nil
  }

  /// Nothing more is read from anybody.
  func stopReading() {
    isStopping = true
    for connection in open { listen(to: connection) }
  }

  /// Whether nobody waits for an answer that is under way, or has one to read.
  var areAnswered: Bool { open.allSatisfy { $0.requests == 0 && $0.unsentCount == 0 } }

  /// Reads a client's requests, or waits until it has read its answers.
  private func listen(to connection: Connection) {
    guard let socket = connection.socket else { return }
    let isIdle = connection.unsentCount == 0
    shared.poller.change(
      socket.borrowed.rawValue, EventSource(.connection, connection.id),
      reading: isIdle && !isStopping && connection.heldUpSince == nil, writing: !isIdle)
  }

  // MARK: Sending

  /// Sends a message, or keeps it until the client reads.
  func send(
    _ message: some WireMessage, _ transaction: UInt32 = 0, to connection: Connection,
    passing handle: consuming PassedHandle = .none
  ) {
    // Nothing follows an epitaph.
    if connection.isEnding || !connection.isOpen { return }
    message.encode(transactionID: transaction, into: &output)
    sendOutput(to: connection, handle)
    if transaction != 0 { awaitReading(connection) }
  }

  /// What the client has not read lies in the kernel, which says that it does, and not since when. One look at all
  /// sockets is cheaper than a deadline for each answer. The first comes soon: it finds that all is read, and the server is at rest.
  private func awaitReading(_ connection: Connection) {
    if connection.unreadSince == nil {
      connection.unreadSince = .now
      (connection.unread, connection.sent) = (0, 0)
    }
    if looksForUnread { return }
    looksForUnread = true
    shared.deadlines.set(.unread, after: shared.accounts.limits.stall / 8)
  }

  func dropUnread() {
    looksForUnread = false
    let now = MonotonicTime.now
    for connection in Array(open) {
      guard let since = connection.unreadSince, let number = connection.socket?.borrowed.rawValue
      else { continue }
      let unread = Int(CLinuxHeaps_unread(number))
      // What more requests bring in does not hide what is read: a message takes more memory than it has bytes (skb->truesize), so it grows
      // by less than was sent only where something was taken out. With messages that found no room a deadline of their own goes.
      let hasRead = unread < connection.unread + connection.sent || connection.unsentCount > 0
      (connection.unread, connection.sent) = (unread, 0)
      if unread == 0 {
        connection.unreadSince = nil
        continue
      }
      if hasRead {
        connection.unreadSince = now
      } else if now.nanoseconds - since.nanoseconds >= shared.accounts.limits.stall * 1_000_000 {
        drop(connection, unread: 1)
        continue
      }
      if !looksForUnread {
        looksForUnread = true
        shared.deadlines.set(.unread, after: shared.accounts.limits.stall / 4)
      }
    }
  }

  private func drop(_ connection: Connection, unread: Int) {
    note("client dropped: it does not read replies", connection, ["unread": "\(unread)"])
    shared.metrics.dropped.increment()
    close(connection)
  }

  func sendUnknownMethodReply(_ header: MessageHeader, to connection: Connection) {
    if connection.isEnding || !connection.isOpen { return }
    header.encodeUnknownMethodReply(into: &output)
    sendOutput(to: connection, .none)
  }

  private func sendOutput(to connection: Connection, _ handle: consuming PassedHandle) {
    switch connection.send(output, passing: handle) {
    case .sent: break
    case .full:
      guard connection.unsentCount == 1 else { return }
      shared.deadlines.set(.stall(connection: connection.id), after: shared.accounts.limits.stall)
      listen(to: connection)
    case .broken: close(connection)
    case .refused: refuseWithoutRights(connection)
    }
  }

  private func refuseWithoutRights(_ connection: Connection) {
    connection.forgetUnsent()
    refuse(connection, .accessDenied, "the client takes no descriptors: SO_PASSRIGHTS is off")
  }

  func flush(_ connection: Connection) {
    while connection.unsentCount > 0 {
      switch connection.sendNext() {
      case .sent:
        shared.deadlines.set(.stall(connection: connection.id), after: shared.accounts.limits.stall)
      case .full: return
      case .broken: return close(connection)
      case .refused: return refuseWithoutRights(connection)
      }
    }
    shared.deadlines.cancel(.stall(connection: connection.id))
    if connection.isEnding { close(connection) } else { listen(to: connection) }
  }

  func dropStalled(_ id: UInt64) {
    guard let connection = self[id] else { return }
    drop(connection, unread: connection.unsentCount)
  }

  /// Logs a refused request, or counts it for the next line.
  func note(
    _ refusal: StaticString, _ connection: Connection,
    _ facts: @autoclosure () -> Logger.Metadata = [:], at level: Logger.Level = .warning
  ) {
    shared.clientLog.note(
      refusal, of: connection.peer.user, at: level, connection.metadata.merging(facts()) { $1 })
  }

  /// Ends a connection because of an invalid message; no other is affected. The epitaph (FIDL) is the server's
  /// last word; its buffers stay.
  func refuse(
    _ connection: Connection, _ status: HeapError.Code, _ reason: @autoclosure () -> String
  ) {
    shared.metrics.refused.increment()
    note("connection closed", connection, ["reason": "\(reason())"])
    send(Epitaph(status: status.rawValue), to: connection)
    connection.isEnding = true
    if connection.unsentCount == 0 { close(connection) }
  }

  // MARK: Reading

  /// What a whole message is given to, with its handles.
  typealias Receiver = (
    Connection, MessageHeader, RawSpan, consuming StrangerFDs
  ) -> Void

  /// One message; the rest stays in the socket, so that clients take turns.
  func read(_ connection: Connection, _ receiver: Receiver) {
    guard let socket = connection.socket, !connection.isEnding, !holdsUp(connection) else { return }
    switch input.receive(socket.borrowed) {
    case .message(let received):
      let handles = StrangerFDs(received, of: connection.peer.user, shared.disposer)
      let message = 0..<input.count
      let bytes = input.bytes
      // All bytes of an array are there, and recvmsg(2) wrote no more than it has.
      unsafe pass(connection, bytes.span.bytes.extracting(unchecked: message), handles, receiver)
    case .nothing: break
    case .end: close(connection)
    case .truncated(let received):
      _ = StrangerFDs(received, of: connection.peer.user, shared.disposer)
      refuse(connection, .invalidArgs, "a message of more than 65536 bytes or 64 handles")
    }
  }

  private func pass(
    _ connection: Connection, _ message: RawSpan, _ handles: consuming StrangerFDs,
    _ receiver: Receiver
  ) {
    let header: MessageHeader
    do throws(WireError) { header = try MessageHeader(decoding: message) } catch {
      return refuse(connection, .invalidArgs, "\(error)")
    }
    // 0 is for messages that nobody answers, and each of these methods is answered.
    if header.transactionID == 0 && connection.interface.has(header.ordinal) {
      return refuse(connection, .invalidArgs, "\(header.ordinal) without a transaction ID")
    }
    receiver(connection, header, message, handles)
  }

  // MARK: Holding up who sends files faster than they close

  /// Why nothing is read from a client for a while.
  private enum Shortage {
    /// Too many files that its user sent are not closed yet.
    case user
    /// A message can bring more descriptors than there is room for, whoever's are there.
    case all
  }

  /// Nil where a message of the client's can be read.
  private func shortage(for peer: Peer) -> Shortage? {
    let (disposer, descriptors) = (shared.disposer, shared.descriptors)
    if disposer.hasTooMuch(of: peer.user) { return .user }
    guard descriptors.isHalfUsed else { return nil }
    // As with all else, the second half is for those who have little.
    if peer.fileClass != .owner,
      disposer.count(of: peer.user) >= Limits.little(of: descriptors.limit)
    {
      return .user
    }
    // Room comes by itself only while something is being closed.
    return descriptors.lacksRoomForMessage && disposer.unclosed > 0 ? .all : nil
  }

  private func holdsUp(_ connection: Connection) -> Bool {
    if shortage(for: connection.peer) == nil { return false }
    connection.heldUpSince = .now
    listen(to: connection)
    shared.deadlines.set(.heldUp(connection: connection.id), after: Disposer.pause)
    return true
  }

  func lookAgain(at id: UInt64) {
    guard let connection = self[id], let since = connection.heldUpSince else { return }
    switch shortage(for: connection.peer) {
    case nil:
      connection.heldUpSince = nil
      return listen(to: connection)
    case .all: connection.heldUpSince = .now
    case .user:
      let milliseconds = (MonotonicTime.now.nanoseconds - since.nanoseconds) / 1_000_000
      if milliseconds >= shared.accounts.limits.stall {
        note("client dropped: files that it sent do not close", connection)
        shared.metrics.dropped.increment()
        return close(connection)
      }
    }
    shared.deadlines.set(.heldUp(connection: connection.id), after: Disposer.pause)
  }
}
