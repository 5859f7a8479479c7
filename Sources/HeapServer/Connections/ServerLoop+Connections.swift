internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

// Clients that come and go, and what is sent to them.

extension ServerLoop {
  func accept(_ face: Connection.Face) {
    let socket: OwnedFD?
    do throws(Errno) {
      socket = try face == .heap ? sockets.heap.accept() : sockets.observer.accept()
    } catch .tooManyOpenFiles, .tooManyOpenFilesInSystem {
      return turnAway(face)
    } catch {
      // E.g. the client is gone again.
      return
    }
    guard let socket else { return }
    admit(socket, face)
    holdUpListeners()
  }

  /// The client would wait in the queue, and the event would come for ever.
  private func turnAway(_ face: Connection.Face) {
    log.error("client turned away: no descriptor is left")
    headroom.withSpare {
      let socket = try? face == .heap ? sockets.heap.accept() : sockets.observer.accept()
      // It is closed here: elsewhere it would wait, with the descriptor that is needed next.
      if let socket { tell(.noResources, SharedFD(socket)) }
    }
  }

  private func admit(_ socket: consuming OwnedFD, _ face: Connection.Face) {
    let peer: Peer
    do throws(Errno) { peer = try Peer(of: socket) } catch { return }
    guard policy.access.admits(peer) else {
      return refuse(
        socket, of: peer, .accessDenied, "neither it nor a group of it is on the list")
    }
    guard userConnections[peer.user, default: 0] < policy.limits.userConnections,
      connections.count < policy.limits.totalConnections, !isOutOfDescriptors
    else {
      return refuse(socket, of: peer, .noResources, "too many connections")
    }
    let pidfd = Peer.processDescriptor(of: socket, peer.process)
    let client = Client(newID(), peer, pidfd)
    let connection = Connection(newID(), face, client, socket)
    do throws(Errno) {
      try poller.add(connection.socket.fd.rawValue, EventSource(.connection, connection.id))
      if let number = pidfd?.fd.rawValue {
        try poller.add(number, EventSource(.client, client.id))
      }
    } catch {
      log.error("client turned away", metadata: ["error": "\(error)"])
      return letGo(of: connection.socket, of: peer.user)
    }
    connections[connection.id] = connection
    clients[client.id] = client
    userConnections[peer.user, default: 0] += 1
    log.debug("client connected", metadata: connection.metadata)
    if face == .heap {
      OnRegisterEvent(properties: heap.properties).encode(into: &output)
      send(to: connection)
    }
  }

  /// Who never became a client may have sent something already.
  private func refuse(
    _ socket: consuming OwnedFD, of peer: Peer, _ status: HeapError.Code, _ reason: String
  ) {
    refusedUsers[peer.user, default: RefusalLog()].note { suppressed in
      log.warning(
        "client refused: \(reason)",
        metadata: [
          "process": "\(peer.process)", "user": "\(peer.user)", "more": "\(suppressed)",
        ])
    }
    let socket = SharedFD(socket)
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
  func send(to connection: Connection, passing handle: consuming OwnedFD? = nil) {
    // Nothing follows an epitaph.
    if connection.isEnding { return }
    guard connection.outgoing.isEmpty else { return keep(handle, for: connection) }
    switch sendOnce(connection.socket, output, handle?.rawValue) {
    case .sent: break
    case .full:
      keep(handle, for: connection)
      deadlines.set(.stall(connection: connection.id), after: policy.limits.stall)
      listen(to: connection)
    case .broken: close(connection)
    }
  }

  private func keep(_ handle: consuming OwnedFD?, for connection: Connection) {
    let message = Connection.Outgoing(output, handle)
    if message.handle != nil { unsentHandles += 1 }
    connection.outgoing.append(message)
  }

  func flush(_ connection: Connection) {
    while let next = connection.outgoing.first {
      switch sendOnce(connection.socket, next.bytes, next.handle?.fd.rawValue) {
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
    case .message(let message): disposer.close(message.handles, of: user)
    case .truncated(let handles): disposer.close(handles, of: user)
    }
    // There may be hundreds.
    disposer.empty(socket, of: user)
  }

  // MARK: Handles that belong to nothing here

  /// Closes what a client sent, elsewhere.
  func dispose(_ handles: consuming ReceivedDescriptors, of connection: Connection) {
    disposer.close(handles, of: connection.client.peer.user)
  }

  func dispose(_ handle: consuming OwnedFD, of connection: Connection) {
    disposer.close(handle, of: connection.client.peer.user)
  }
}

/// What became of one attempt.
enum Sending { case sent, full, broken }

/// Sends a message on a socket that does not block.
func sendOnce(_ socket: SharedFD, _ bytes: [UInt8], _ handle: CInt?) -> Sending {
  let number = socket.fd.rawValue
  do throws(Errno) {
    try SeqPacket.send(number, bytes, handle)
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
