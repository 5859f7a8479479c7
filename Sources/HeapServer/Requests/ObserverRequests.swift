internal import CLibrary
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// linuxheaps/Observer, which composes fuchsia.sysmem2/Allocator as far as GetVmoInfo.
final class ObserverRequests {
  /// Handles of AttachLifetimeTracking that are not due.
  private let trackers = UserCounts()
  /// Requests for reports, oldest first; a user is a key as long as one of its reports is being made.
  private var waiting: [uid_t: [(connection: UInt64, transaction: UInt32)]] = [:]
  private let pipes: PipeDevice
  private let shared: Shared
  private let buffers: ServedBuffers
  private let connections: Connections

  init(
    _ shared: Shared, _ buffers: ServedBuffers, _ connections: Connections
  ) throws(Errno) {
    pipes = try PipeDevice()
    self.shared = shared
    self.buffers = buffers
    self.connections = connections
  }

  /// - Parameter status: What GetStatus tells.
  func serve(
    _ connection: Connection, _ header: MessageHeader, _ message: RawSpan,
    _ handles: consuming StrangerFDs, status: () -> Status
  ) {
    let transaction = header.transactionID
    do throws(WireError) {
      switch header.ordinal {
      case .getVmoInfo:
        let request = try GetVmoInfoRequest(decoding: message, handleCount: handles.count)
        let vmo = handles.take(at: request.vmo.rawValue)
        tellInfo(connection, transaction, vmo)
      case .attachLifetimeTracking:
        let request = try AttachLifetimeTrackingRequest(
          decoding: message, handleCount: handles.count)
        let serverEnd = handles.take(at: request.serverEnd.rawValue)
        attach(connection, transaction, request, serverEnd)
      case .awaitReclaimed:
        let request = try AwaitReclaimedRequest(decoding: message, handleCount: handles.count)
        let vmo = handles.take(at: request.vmo.rawValue)
        awaitReclaimed(connection, transaction, vmo)
      case .getStatus:
        _ = try GetStatusRequest(decoding: message, handleCount: handles.count)
        reportStatus(connection, transaction, status)
      default:
        answerUnknown(connection, header)
      }
    } catch {
      connections.refuse(connection, .invalidArgs, "\(error)")
    }
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
    _ connection: Connection, _ transaction: UInt32, _ handle: consuming StrangerFD
  ) {
    let key = handle.identity.flatMap { buffers.liveKey(of: $0) }
    if key != nil { _ = handle.asChild() }
    connections.send(
      GetVmoInfoReply(key.map { .success($0) } ?? .failure(.notFound)), transaction, to: connection)
  }

  // MARK: AttachLifetimeTracking

  private func attach(
    _ connection: Connection, _ transaction: UInt32, _ request: AttachLifetimeTrackingRequest,
    _ handle: consuming StrangerFD
  ) {
    guard pipes.has(handle) else {
      return refuseToTrack(
        connection, transaction, request, .invalidArgs,
        "tracking refused: the handle is no end of a pipe")
    }
    let user = connection.peer.user
    let pending = trackers.count(of: user)
    guard pending < shared.accounts.limits.waits,
      shared.hasDescriptors(for: connection.peer, besides: pending)
    else {
      return refuseToTrack(
        connection, transaction, request, .noResources,
        "tracking refused: too many of the user's handles are pending")
    }
    let (trackers, descriptors) = (self.trackers, shared.descriptors)
    // Each of them is a descriptor of this process until it is due.
    trackers.add(user)
    descriptors.add()
    let box = Guarded<StrangerFD?>(handle)
    let tracker = LifetimeTracker(buffersRemaining: request.buffersRemaining) {
      box.withLock { $0 = nil }
      trackers.remove(user)
      descriptors.remove()
    }
    buffers.track(request.bufferCollectionID, tracker)
    connections.send(
      AttachLifetimeTrackingReply(.success(EmptyTable())), transaction, to: connection)
  }

  private func refuseToTrack(
    _ connection: Connection, _ transaction: UInt32, _ request: AttachLifetimeTrackingRequest,
    _ status: HeapError.Code, _ refusal: StaticString
  ) {
    connections.note(refusal, connection, ["collection": "\(request.bufferCollectionID)"])
    connections.send(
      AttachLifetimeTrackingReply(.failure(status.rawValue)), transaction, to: connection)
  }

  // MARK: AwaitReclaimed

  private func awaitReclaimed(
    _ connection: Connection, _ transaction: UInt32, _ handle: consuming StrangerFD
  ) {
    guard let identity = handle.identity, let place = buffers.place(of: identity)
    else {
      return refuseToAwait(connection, transaction, .notFound)
    }
    guard shared.accounts.hasRoomToWait(connection) else {
      connections.note(
        "watch refused: too many replies of the connection or its user are pending", connection,
        ["buffer": "\(buffers.key(at: place))"])
      return refuseToAwait(connection, transaction, .noResources)
    }
    _ = handle.asChild()
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
    if connection.requests == 0, connection.socket?.borrowed.allIsRead == true {
      connection.unreadReports = 0
    }
    guard connection.unreadReports < Self.mostUnreadReports,
      shared.hasDescriptors(for: connection.peer)
    else {
      connections.note(
        "status refused: earlier reports are unread, or the server is out of descriptors",
        connection)
      return refuseStatus(connection, transaction, .noResources)
    }
    connection.unreadReports += 1
    connection.requests += 1
    let user = connection.peer.user
    // Until its report is made, what it tells of all buffers is on nobody's account: it is one for each user.
    if waiting[user]?.append((connection.id, transaction)) != nil { return }
    waiting[user] = []
    make(connection.id, transaction, for: user, status())
  }

  private func make(_ id: UInt64, _ transaction: UInt32, for user: uid_t, _ status: Status) {
    let mailbox = shared.mailbox
    shared.workers.run(in: Workers.Lane(id, of: .user(user))) {
      mailbox.post(
        .reported(Report(connection: id, transaction: transaction, user: user, of: status)))
    }
  }

  /// - Parameter status: What the user's next report tells.
  func finish(_ report: Report, status: () -> Status) {
    answer(report)
    while let next = waiting[report.user]?.first {
      waiting[report.user]!.removeFirst()
      if connections[next.connection] == nil { continue }
      return make(next.connection, next.transaction, for: report.user, status())
    }
    waiting[report.user] = nil
  }

  private func answer(_ report: Report) {
    guard let connection = connections[report.connection] else { return }
    connection.requests -= 1
    if let memory = report.takeMemory() {
      send(report, memory, to: connection)
    } else if let error = report.failure {
      fail(report, error, connection)
    }
  }

  private func send(
    _ report: Report, _ memory: consuming BufferMemory, to connection: Connection
  ) {
    switch buffers.addReport(report.charge, for: connection) {
    case .refused(let quota):
      connections.note("status refused", connection, ["reason": "\(quota)"])
      refuseStatus(connection, report.transaction, .noResources)
    case .place(let place):
      do throws(Errno) {
        let child = try buffers.settle(place, memory, copies: 0)
        connections.send(
          GetStatusReply(.success(StatusReport(size: report.size))), report.transaction,
          to: connection, passing: child)
      } catch {
        buffers.cancel(place)
        fail(report, HeapError(error, "keep the status"), connection)
      }
    }
  }

  private func fail(_ report: Report, _ error: HeapError, _ connection: Connection) {
    connections.note("status report failed", connection, ["error": "\(error)"], at: .error)
    refuseStatus(connection, report.transaction, error.code)
  }

  private func refuseStatus(
    _ connection: Connection, _ transaction: UInt32, _ status: HeapError.Code
  ) {
    connections.send(GetStatusReply(.failure(status.rawValue)), transaction, to: connection)
  }
}

/// A status in sealed memory, which has one owner at a time: the worker that makes it, then the event loop.
final class Report: Sendable {
  let connection: UInt64
  let transaction: UInt32
  let user: uid_t
  /// Bytes.
  let size: UInt64
  /// What it is charged: whole pages.
  let charge: UInt64
  let failure: HeapError?
  private let memory: Guarded<BufferMemory?>

  init(connection: UInt64, transaction: UInt32, user: uid_t, of status: Status) {
    self.connection = connection
    self.transaction = transaction
    self.user = user
    let text = Array(status.json.text.utf8)
    size = UInt64(text.count)
    do throws(HeapError) {
      let (charge, memory) = try Self.memory(text)
      self.charge = charge
      self.memory = memory
      failure = nil
    } catch {
      charge = 0
      memory = Guarded(nil)
      failure = error
    }
  }

  private static func memory(
    _ text: [UInt8]
  ) throws(HeapError) -> (charge: UInt64, Guarded<BufferMemory?>) {
    let charge = try UInt64(text.count).checkedAsVmoSize()
    let request = BufferRequest(
      key: BufferKey(bufferCollectionID: 0, bufferIndex: 0), size: UInt64(text.count),
      settings: SingleBufferSettings())
    let grant = try Admission.standard.admit(charge, for: "write the status")
    let file = try attempt("write the status") { () throws(Errno) in
      let file = try Memfd.create("heapd:status", size: UInt64(text.count))
      try file.write(text)
      return file
    }
    return (
      charge,
      Guarded(try BufferMemory(memfd: file, for: request, heapName: "status", grant: grant))
    )
  }

  func takeMemory() -> BufferMemory? { memory.withLock { $0.take() } }
}
