internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// linuxheaps/Observer, which composes fuchsia.sysmem2/Allocator as far as GetVmoInfo.
final class ObserverRequests {
  /// Handles of AttachLifetimeTracking that are not due.
  private let trackers = UserCounts()
  private let shared: Shared
  private let buffers: ServedBuffers
  private let connections: Connections

  init(_ shared: Shared, _ buffers: ServedBuffers, _ connections: Connections) {
    self.shared = shared
    self.buffers = buffers
    self.connections = connections
  }

  /// - Parameter status: What GetStatus tells.
  func serve(
    _ connection: Connection, _ header: MessageHeader, _ message: RawSpan,
    _ handles: consuming ReceivedDescriptors, status: () -> Status
  ) {
    let transaction = header.transactionID
    do throws(WireError) {
      switch header.ordinal {
      case .getVmoInfo:
        let request = try GetVmoInfoRequest(decoding: message, handleCount: handles.count)
        let vmo = take(request.vmo, of: handles, connection)
        tellInfo(connection, transaction, vmo)
      case .attachLifetimeTracking:
        let request = try AttachLifetimeTrackingRequest(
          decoding: message, handleCount: handles.count)
        let serverEnd = take(request.serverEnd, of: handles, connection)
        attach(connection, transaction, request, serverEnd)
      case .awaitReclaimed:
        let request = try AwaitReclaimedRequest(decoding: message, handleCount: handles.count)
        let vmo = take(request.vmo, of: handles, connection)
        awaitReclaimed(connection, transaction, vmo)
      case .getStatus:
        _ = try GetStatusRequest(decoding: message, handleCount: handles.count)
        connections.discard(handles, of: connection)
        reportStatus(connection, transaction, status)
      default:
        connections.discard(handles, of: connection)
        answerUnknown(connection, header)
      }
    } catch {
      connections.discard(handles, of: connection)
      connections.refuse(connection, .invalidArgs, "\(error)")
    }
  }

  /// The handle that a method knows; those in fields that it does not know are closed.
  private func take(
    _ index: HandleIndex, of handles: consuming ReceivedDescriptors, _ connection: Connection
  ) -> OwnedFD {
    let handle = handles.take(at: index.rawValue)
    connections.discard(handles, of: connection)
    return handle
  }

  /// As flexible methods of an open protocol are: a client may be newer than the server.
  private func answerUnknown(_ connection: Connection, _ header: MessageHeader) {
    guard header.isFlexible else {
      return connections.refuse(
        connection, .notSupported, "Observer has no method \(header.ordinal)")
    }
    // One way: nobody waits for an answer.
    if header.transactionID == 0 { return }
    connections.sendUnknownMethodReply(header, to: connection)
  }

  // MARK: GetVmoInfo

  private func tellInfo(
    _ connection: Connection, _ transaction: UInt32, _ handle: consuming OwnedFD
  ) {
    let key = (try? VMOIdentity(of: handle)).flatMap { buffers.liveKey(of: $0) }
    if key == nil { connections.discard(handle, of: connection) } else { _ = consume handle }
    connections.send(
      GetVmoInfoReply(key.map { .success($0) } ?? .failure(.notFound)), transaction, to: connection)
  }

  // MARK: AttachLifetimeTracking

  private func attach(
    _ connection: Connection, _ transaction: UInt32, _ request: AttachLifetimeTrackingRequest,
    _ handle: consuming OwnedFD
  ) {
    let user = connection.peer.user
    guard trackers.count(of: user) < shared.accounts.limits.waits, !shared.descriptors.isUsedUp
    else {
      connections.discard(handle, of: connection)
      connections.note(
        "tracking refused: too many of the user's handles are pending", connection,
        ["collection": "\(request.bufferCollectionID)"])
      return connections.send(
        AttachLifetimeTrackingReply(.failure(HeapError.Code.noResources.rawValue)), transaction,
        to: connection)
    }
    let (trackers, descriptors) = (self.trackers, shared.descriptors)
    let closeQueue = shared.closeQueue
    // Each of them is a descriptor of this process until it is due.
    trackers.add(user)
    descriptors.add()
    buffers.track(request.bufferCollectionID, request.buffersRemaining, handle) { descriptor in
      trackers.remove(user)
      descriptors.remove()
      closeQueue.close(descriptor, of: user)
    }
    connections.send(
      AttachLifetimeTrackingReply(.success(EmptyTable())), transaction, to: connection)
  }

  // MARK: AwaitReclaimed

  private func awaitReclaimed(
    _ connection: Connection, _ transaction: UInt32, _ handle: consuming OwnedFD
  ) {
    guard let identity = try? VMOIdentity(of: handle), let place = buffers.place(of: identity)
    else {
      connections.discard(handle, of: connection)
      return refuseToAwait(connection, transaction, .notFound)
    }
    guard connection.waits < shared.accounts.limits.waits else {
      connections.discard(handle, of: connection)
      connections.note(
        "watch refused: too many of the connection's replies are pending", connection,
        ["buffer": "\(buffers.key(at: place))"])
      return refuseToAwait(connection, transaction, .noResources)
    }
    _ = consume handle
    buffers.wait(
      for: place, Waiting(connection: connection, transaction: transaction, deletionBegan: nil))
    // The handle may have been the last child, and of a dma-buf nobody else will tell.
    buffers.look(place)
  }

  private func refuseToAwait(
    _ connection: Connection, _ transaction: UInt32, _ status: HeapError.Code
  ) {
    connections.send(
      AwaitReclaimedReply(.failure(status.rawValue)), transaction, to: connection)
  }

  // MARK: GetStatus

  /// A report is a file, which stays open in its unread answer.
  private static let mostUnreadReports = 4

  private func reportStatus(
    _ connection: Connection, _ transaction: UInt32, _ status: () -> Status
  ) {
    if connection.requests == 0, connection.socket?.fd.allIsRead == true {
      connection.unreadReports = 0
    }
    guard connection.unreadReports < Self.mostUnreadReports, !shared.descriptors.isUsedUp else {
      connections.note(
        "status refused: earlier reports are unread, or the server is out of descriptors",
        connection)
      return refuseStatus(connection, transaction, .noResources)
    }
    connection.unreadReports += 1
    connection.requests += 1
    let (id, status, mailbox) = (connection.id, status(), shared.mailbox)
    shared.workers.run(in: Workers.Lane(id, of: .user(connection.peer.user))) {
      mailbox.post(
        .reported(Report(connection: id, transaction: transaction, of: status)))
    }
  }

  func finish(_ report: Report) {
    guard let connection = connections[report.connection] else { return }
    connection.requests -= 1
    switch report.result {
    case .success(let status):
      guard let file = status.file.withLock({ $0.take() }) else { return }
      connections.send(
        GetStatusReply(.success(StatusReport(size: status.size))), report.transaction,
        to: connection, passing: .owned(file))
    case .failure(let error):
      shared.log.error("status report failed", metadata: ["error": "\(error)"])
      refuseStatus(connection, report.transaction, error.code)
    }
  }

  private func refuseStatus(
    _ connection: Connection, _ transaction: UInt32, _ status: HeapError.Code
  ) {
    connections.send(GetStatusReply(.failure(status.rawValue)), transaction, to: connection)
  }
}

/// A status in a file, which the event loop takes out: the worker that made it may hold this for longer.
final class Report: Sendable {
  let connection: UInt64
  let transaction: UInt32
  let result: Result<(file: Guarded<OwnedFD?>, size: UInt64), HeapError>

  init(connection: UInt64, transaction: UInt32, of status: Status) {
    self.connection = connection
    self.transaction = transaction
    let text = Array(status.json.text.utf8)
    do throws(Errno) {
      let file = try Memfd.create("heapd:status", size: UInt64(text.count))
      try file.write(text)
      result = .success((Guarded(file), UInt64(text.count)))
    } catch {
      result = .failure(HeapError(error, "write the status"))
    }
  }
}
