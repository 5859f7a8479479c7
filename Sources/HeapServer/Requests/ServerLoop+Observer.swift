internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

// linuxheaps/Observer, which composes fuchsia.sysmem2/Allocator as far as GetVmoInfo.

extension ServerLoop {
  func serveObserver(
    _ connection: Connection, _ header: MessageHeader, _ message: RawSpan,
    _ handles: consuming ReceivedDescriptors
  ) {
    let transaction = header.transactionID
    do throws(WireError) {
      switch header.ordinal {
      case .getVmoInfo:
        let request = try GetVmoInfoRequest(decoding: message, handleCount: handles.count)
        tellInfo(connection, transaction, handles.take(at: request.vmo.rawValue))
      case .attachLifetimeTracking:
        let request = try AttachLifetimeTrackingRequest(
          decoding: message, handleCount: handles.count)
        attach(
          connection, transaction, request, handles.take(at: request.serverEnd.rawValue))
      case .awaitReclaimed:
        let request = try AwaitReclaimedRequest(decoding: message, handleCount: handles.count)
        awaitReclaimed(connection, transaction, handles.take(at: request.vmo.rawValue))
      case .getStatus:
        _ = try GetStatusRequest(decoding: message, handleCount: handles.count)
        dispose(handles)
        tellStatus(connection, transaction)
      default:
        dispose(handles)
        answerUnknown(connection, header)
      }
    } catch {
      refuse(connection, .invalidArgs, "\(error)")
    }
  }

  /// As flexible methods of an open protocol are: a client may be newer than the server.
  private func answerUnknown(_ connection: Connection, _ header: MessageHeader) {
    guard header.isFlexible else {
      return refuse(connection, .notSupported, "Observer has no method \(header.ordinal)")
    }
    // One way: nobody waits for an answer.
    if header.transactionID == 0 { return }
    UnknownMethodReply(to: header.ordinal).encode(
      transactionID: header.transactionID, into: &output)
    send(to: connection)
  }

  private func tellInfo(
    _ connection: Connection, _ transaction: UInt32, _ handle: consuming OwnedFD
  ) {
    let key = (try? VMOIdentity(of: handle)).flatMap { heap.buffers.key(of: $0) }
    if key == nil { dispose(handle) }
    let info = key.map {
      VmoInfo(bufferCollectionID: $0.bufferCollectionID, bufferIndex: $0.bufferIndex)
    }
    GetVmoInfoReply(info.map { .success($0) } ?? .failure(.notFound)).encode(
      transactionID: transaction, into: &output)
    send(to: connection)
  }

  private func attach(
    _ connection: Connection, _ transaction: UInt32, _ request: AttachLifetimeTrackingRequest,
    _ handle: consuming OwnedFD
  ) {
    let reply: AttachLifetimeTrackingReply
    if !EventPair.isEnd(handle) {
      dispose(handle)
      reply = AttachLifetimeTrackingReply(.failure(HeapError.Code.wrongType.rawValue))
    } else if heap.buffers.trackerCount >= policy.limits.waits || isOutOfDescriptors {
      dispose(handle)
      reply = AttachLifetimeTrackingReply(.failure(HeapError.Code.noResources.rawValue))
    } else {
      // Each of them is a descriptor of this process until it is due.
      heap.buffers.attachLifetimeTracking(
        handle, bufferCollectionID: request.bufferCollectionID,
        buffersRemaining: request.buffersRemaining)
      reply = AttachLifetimeTrackingReply(.success(EmptyTable()))
    }
    reply.encode(transactionID: transaction, into: &output)
    send(to: connection)
  }

  private func awaitReclaimed(
    _ connection: Connection, _ transaction: UInt32, _ handle: consuming OwnedFD
  ) {
    guard connection.waits < policy.limits.waits, let identity = try? VMOIdentity(of: handle) else {
      dispose(handle)
      return refuse(connection, .noResources, "too many answers of the connection wait")
    }
    let (id, mailbox) = (connection.id, self.mailbox)
    let isLive = heap.buffers.whenReclaimed(identity) {
      mailbox.post(.awaited(connection: id, transaction: transaction))
    }
    guard isLive else {
      dispose(handle)
      AwaitReclaimedReply(.failure(HeapError.Code.notFound.rawValue)).encode(
        transactionID: transaction, into: &output)
      return send(to: connection)
    }
    // Ahead of the look: the parent is here, so this close is a quick one.
    _ = consume handle
    connection.waits += 1
    // It may have been the last child, and of a dma-buf nobody else will tell.
    recheck(identity)
  }

  func finishWaiting(_ id: UInt64, _ transaction: UInt32) {
    guard let connection = connections[id] else { return }
    connection.waits -= 1
    AwaitReclaimedReply(.success(EmptyTable())).encode(transactionID: transaction, into: &output)
    send(to: connection)
  }

  private func tellStatus(_ connection: Connection, _ transaction: UInt32) {
    let text = Array(statusReport().utf8)
    do throws(Errno) {
      let file = try Memfd.create("heapd:status", size: UInt64(text.count))
      try file.write(text)
      GetStatusReply(.success(StatusReport(size: UInt64(text.count)))).encode(
        transactionID: transaction, into: &output)
      send(to: connection, passing: file)
    } catch {
      GetStatusReply(.failure(HeapError.Code(error).rawValue)).encode(
        transactionID: transaction, into: &output)
      send(to: connection)
    }
  }
}
