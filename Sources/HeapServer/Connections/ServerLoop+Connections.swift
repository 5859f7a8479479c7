internal import CoreMetrics
internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

// Clients that come and go, and what is sent to them.

extension ServerLoop {
  func accept(_ interface: Connection.Interface) {
    let listener = interface == .heap ? sockets.heap : sockets.observer
    do throws(Errno) {
      guard let socket = try listener.accept() else { return }
      admit(socket, interface)
      holdUpListeners()
    } catch .tooManyOpenFiles, .tooManyOpenFilesInSystem {
      // The client would wait in the queue, and the event would come for ever.
      log.error("client turned away: no descriptor is left")
      headroom.withSpare {
        // It is closed here: elsewhere it would wait, with the descriptor that is needed next.
        if let socket = try? listener.accept() { tell(.noResources, socket) }
      }
    } catch {
      // E.g. the client is gone again.
    }
  }

  private func admit(_ socket: SharedFD, _ interface: Connection.Interface) {
    guard let peer = try? Peer(of: socket.fd) else { return }
    guard policy.access.admits(peer) else {
      return refuse(
        socket, of: peer, .accessDenied, "neither it nor a group of it is on the list")
    }
    guard userConnections[peer.user, default: 0] < policy.limits.userConnections,
      connections.count < policy.limits.totalConnections, !isOutOfDescriptors
    else {
      return refuse(socket, of: peer, .noResources, "too many connections")
    }
    let client = Client(newID(), peer, Peer.processDescriptor(of: socket.fd, peer.process))
    let connection = Connection(newID(), interface, client, socket)
    do throws(Errno) {
      try poller.add(socket.fd.rawValue, EventSource(.connection, connection.id))
      if let number = client.process?.fd.rawValue {
        try poller.add(number, EventSource(.client, client.id))
      }
    } catch {
      log.error("client turned away", metadata: ["error": "\(error)"])
      // Until it is closed it would be reported at each turn.
      poller.remove(socket.fd.rawValue)
      return letGo(of: socket, of: peer.user)
    }
    connections[connection.id] = connection
    clients[client.id] = client
    userConnections[peer.user, default: 0] += 1
    log.debug("client connected", metadata: connection.metadata)
    if interface == .heap {
      OnRegisterEvent(properties: heap.properties).encode(into: &output)
      send(to: connection)
    }
  }

  /// A peer that never became a client may have sent something already.
  private func refuse(
    _ socket: SharedFD, of peer: Peer, _ status: HeapError.Code, _ reason: String
  ) {
    refusedUsers[peer.user, default: RefusalLog()].note { suppressed in
      log.warning(
        "client refused: \(reason)",
        metadata: [
          "process": "\(peer.process)", "user": "\(peer.user)", "more": "\(suppressed)",
        ])
    }
    tell(status, socket)
    letGo(of: socket, of: peer.user)
  }

  private func tell(_ epitaph: HeapError.Code, _ socket: SharedFD) {
    Epitaph(status: epitaph.rawValue).encode(into: &output)
    _ = sendOnce(socket, output, nil)
  }

  func processEnded(_ client: Client) {
    if let number = client.process?.fd.rawValue { poller.remove(number) }
    client.process = nil
    recheck(client)
    forgetIfGone(client)
  }

  /// Frees nothing: buffers live until their last child goes.
  func close(_ connection: Connection) {
    guard connections.removeValue(forKey: connection.id) != nil else { return }
    poller.remove(connection.socket.fd.rawValue)
    letGo(of: connection.socket, of: connection.client.peer.user)
    deadlines.cancel(.stall(connection: connection.id))
    deadlines.cancel(.heldUp(connection: connection.id))
    let client = connection.client
    client.isConnected = false
    let count = userConnections[client.peer.user, default: 1] - 1
    userConnections[client.peer.user] = count == 0 ? nil : count
    // Answers that nobody will read may hold children.
    unsentHandles -= connection.outgoing.count { $0.handle != nil }
    connection.outgoing = []
    stopWaiting(connection)
    recheck(client)
    forgetIfGone(client)
    log.debug("client disconnected", metadata: connection.metadata)
  }

  func forgetIfGone(_ client: Client) {
    guard !client.isConnected, client.process == nil || client.unreportedBuffers.isEmpty else {
      return
    }
    if let number = client.process?.fd.rawValue { poller.remove(number) }
    client.process = nil
    clients[client.id] = nil
  }

  // MARK: Sending

  /// Sends ``output``, or keeps it until the client reads. The handle is closed here as soon as it is
  /// on its way.
  func send(to connection: Connection, passing handle: SharedFD? = nil) {
    // Nothing follows an epitaph.
    if connection.isEnding { return }
    guard connection.outgoing.isEmpty else { return keep(handle, for: connection) }
    switch sendOnce(connection.socket, output, handle) {
    case .sent: break
    case .full:
      keep(handle, for: connection)
      deadlines.set(.stall(connection: connection.id), after: policy.limits.stall)
      listen(to: connection)
    case .broken: close(connection)
    }
  }

  private func keep(_ handle: SharedFD?, for connection: Connection) {
    if handle != nil { unsentHandles += 1 }
    connection.outgoing.append((output, handle))
  }

  func flush(_ connection: Connection) {
    while let next = connection.outgoing.first {
      switch sendOnce(connection.socket, next.bytes, next.handle) {
      case .sent:
        if next.handle != nil { unsentHandles -= 1 }
        connection.outgoing.removeFirst()
        deadlines.set(.stall(connection: connection.id), after: policy.limits.stall)
      case .full: return
      case .broken: return close(connection)
      }
    }
    deadlines.cancel(.stall(connection: connection.id))
    if connection.isEnding { close(connection) } else { listen(to: connection) }
  }

  /// The server's last word (FIDL: epitaph), then the end of the connection. Its buffers stay.
  func end(_ connection: Connection, _ status: HeapError.Code) {
    Epitaph(status: status.rawValue).encode(into: &output)
    send(to: connection)
    connection.isEnding = true
    if connection.outgoing.isEmpty { close(connection) }
  }

  /// Ends a connection. A socket that is closed with unread messages closes their handles, where it is
  /// closed, and answers ECONNRESET to its peer before the epitaph. After the shutdown no more can come.
  func letGo(of socket: SharedFD, of user: uid_t) {
    _ = shutdown(socket.fd.rawValue, CInt(SHUT_RDWR))
    switch input.receive(socket.fd) {
    case .nothing: return
    case .end: return
    case .message(let handles): closeQueue.close(handles, of: user)
    case .truncated(let handles): closeQueue.close(handles, of: user)
    }
    // There may be hundreds.
    closeQueue.empty(socket, of: user)
  }

  // MARK: Handles that belong to nothing here

  /// Closes what a client sent, on another thread.
  func discard(_ handles: consuming ReceivedDescriptors, of connection: Connection) {
    closeQueue.close(handles, of: connection.client.peer.user)
  }

  func discard(_ handle: consuming OwnedFD, of connection: Connection) {
    closeQueue.close(handle, of: connection.client.peer.user)
  }

  // MARK: Reading

  /// One message; the rest stays in the socket, so that clients take turns.
  func read(_ connection: Connection) {
    if connection.isEnding || holdsUp(connection) { return }
    switch input.receive(connection.socket.fd) {
    case .message(let handles):
      let message = 0..<input.count
      let bytes = input.bytes
      // All bytes of an array are there, and recvmsg(2) wrote no more than it has.
      unsafe serve(connection, bytes.span.bytes.extracting(unchecked: message), handles)
    case .nothing: break
    case .end: close(connection)
    case .truncated(let handles):
      discard(handles, of: connection)
      refuse(connection, .invalidArgs, "a message of more than 65536 bytes or 64 handles")
    }
  }

  private func serve(
    _ connection: Connection, _ message: RawSpan, _ handles: consuming ReceivedDescriptors
  ) {
    let header: MessageHeader
    do throws(WireError) { header = try MessageHeader(decoding: message) } catch {
      discard(handles, of: connection)
      return refuse(connection, .invalidArgs, "\(error)")
    }
    // 0 is for messages that nobody answers, and each of these methods is answered.
    if header.transactionID == 0 && connection.interface.methods.contains(header.ordinal) {
      discard(handles, of: connection)
      return refuse(connection, .invalidArgs, "\(header.ordinal) without a transaction ID")
    }
    switch connection.interface {
    case .heap: serveHeap(connection, header, message, handles)
    case .observer: serveObserver(connection, header, message, handles)
    }
  }

  /// Logs a refused request, or counts it for the next line.
  func note(
    _ refusal: @autoclosure () -> Logger.Message, _ connection: Connection,
    _ facts: @autoclosure () -> Logger.Metadata = [:], at level: Logger.Level = .warning
  ) {
    connection.refusals.note { suppressed in
      let who = connection.metadata.merging(["more": "\(suppressed)"]) { $1 }
      log.log(level: level, refusal(), metadata: who.merging(facts()) { $1 })
    }
  }

  /// Ends a connection because of an invalid message; no other is affected.
  func refuse(_ connection: Connection, _ status: HeapError.Code, _ reason: String) {
    metrics.refused.increment()
    log.warning(
      "connection closed", metadata: connection.metadata.merging(["reason": "\(reason)"]) { $1 })
    end(connection, status)
  }

  // MARK: Holding up who sends files faster than they close

  /// Files of one user that may wait here to be closed.
  private var mostUnclosed: Int { min(512, headroom.limit / 4) }
  /// Milliseconds from one look at them to the next.
  private static let pause: UInt64 = 5

  func holdsUp(_ connection: Connection) -> Bool {
    guard hasTooMuchToClose(connection) else { return false }
    connection.heldUpSince = .now
    listen(to: connection)
    deadlines.set(.heldUp(connection: connection.id), after: Self.pause)
    return true
  }

  private func hasTooMuchToClose(_ connection: Connection) -> Bool {
    closeQueue.open.count(of: connection.client.peer.user) >= mostUnclosed
  }

  /// A user who reconnects again and again, with files that do not close, would use up all descriptors.
  /// Who is next in a listener's queue is unknown before accept(2), so all wait.
  func holdUpListeners() {
    guard closeQueue.open.total >= headroom.limit / 2 else { return }
    listen(false)
    deadlines.set(.heldUpListeners, after: Self.pause)
  }

  func lookAgainAtListeners() {
    listen(true)
    holdUpListeners()
  }

  private func listen(_ isReading: Bool) {
    if isStopping { return }
    for (number, kind) in [
      (sockets.heap.fd.rawValue, EventSource.Kind.heapListener),
      (sockets.observer.fd.rawValue, .observerListener),
    ] {
      poller.change(number, EventSource(kind), reading: isReading, writing: false)
    }
  }

  func lookAgain(at connection: Connection) {
    guard let since = connection.heldUpSince else { return }
    guard hasTooMuchToClose(connection) else {
      connection.heldUpSince = nil
      return listen(to: connection)
    }
    let milliseconds = (MonotonicTime.now.nanoseconds - since.nanoseconds) / 1_000_000
    guard milliseconds >= policy.limits.stall else {
      return deadlines.set(.heldUp(connection: connection.id), after: Self.pause)
    }
    log.warning("client dropped: files that it sent do not close", metadata: connection.metadata)
    metrics.dropped.increment()
    close(connection)
  }
}

/// What became of one attempt.
private enum Sending { case sent, full, broken }

/// Sends a message on a socket that does not block.
private func sendOnce(_ socket: SharedFD, _ bytes: [UInt8], _ handle: SharedFD?) -> Sending {
  do throws(Errno) {
    try socket.fd.send(bytes, passing: handle?.fd.rawValue)
    return .sent
  } catch .resourceTemporarilyUnavailable {
    return .full
  } catch .init(rawValue: ETOOMANYREFS) {
    // Too many descriptors of this user are in flight: as long as others do not read.
    return .full
  } catch {
    return .broken
  }
}
