internal import HeapProtocol
internal import HeapSurvey
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
        discard(handles, of: connection)
        reportStatus(connection, transaction)
      default:
        discard(handles, of: connection)
        answerUnknown(connection, header)
      }
    } catch {
      discard(handles, of: connection)
      refuse(connection, .invalidArgs, "\(error)")
    }
  }

  /// The handle that a method knows; those in fields that it does not know are closed.
  private func take(
    _ index: HandleIndex, of handles: consuming ReceivedDescriptors, _ connection: Connection
  ) -> OwnedFD {
    let handle = handles.take(at: index.rawValue)
    discard(handles, of: connection)
    return handle
  }

  /// As flexible methods of an open protocol are: a client may be newer than the server.
  private func answerUnknown(_ connection: Connection, _ header: MessageHeader) {
    guard header.isFlexible else {
      return refuse(connection, .notSupported, "Observer has no method \(header.ordinal)")
    }
    // One way: nobody waits for an answer.
    if header.transactionID == 0 { return }
    header.encodeUnknownMethodReply(into: &output)
    send(to: connection)
  }

  private func tellInfo(
    _ connection: Connection, _ transaction: UInt32, _ handle: consuming OwnedFD
  ) {
    let key = (try? VMOIdentity(of: handle)).flatMap { heap.buffers.key(of: $0) }
    if key == nil { discard(handle, of: connection) } else { _ = consume handle }
    GetVmoInfoReply(key.map { .success($0) } ?? .failure(.notFound)).encode(
      transactionID: transaction, into: &output)
    send(to: connection)
  }

  private func attach(
    _ connection: Connection, _ transaction: UInt32, _ request: AttachLifetimeTrackingRequest,
    _ handle: consuming OwnedFD
  ) {
    let reply: AttachLifetimeTrackingReply
    let (user, closeQueue) = (connection.client.peer.user, self.closeQueue)
    if trackers.count(of: user) >= policy.limits.waits || isOutOfDescriptors {
      discard(handle, of: connection)
      note(
        "tracking refused: too many of the user's handles are pending", connection,
        ["collection": "\(request.bufferCollectionID)"])
      reply = AttachLifetimeTrackingReply(.failure(HeapError.Code.noResources.rawValue))
    } else {
      // Each of them is a descriptor of this process until it is due.
      let trackers = self.trackers
      trackers.add(user)
      heap.buffers.attachLifetimeTracking(
        handle, bufferCollectionID: request.bufferCollectionID,
        buffersRemaining: request.buffersRemaining
      ) { descriptor in
        trackers.remove(user)
        closeQueue.close(descriptor, of: user)
      }
      reply = AttachLifetimeTrackingReply(.success(EmptyTable()))
    }
    reply.encode(transactionID: transaction, into: &output)
    send(to: connection)
  }

  private func awaitReclaimed(
    _ connection: Connection, _ transaction: UInt32, _ handle: consuming OwnedFD
  ) {
    guard let identity = try? VMOIdentity(of: handle),
      let key = heap.buffers.keyUntilReclaimed(of: identity)
    else {
      discard(handle, of: connection)
      return refuseToAwait(connection, transaction, .notFound)
    }
    guard connection.waits < policy.limits.waits else {
      discard(handle, of: connection)
      note(
        "watch refused: too many of the connection's replies are pending", connection,
        ["buffer": "\(key)"])
      return refuseToAwait(connection, transaction, .noResources)
    }
    _ = consume handle
    wait(for: key, connection, transaction)
    // The handle may have been the last child, and of a dma-buf nobody else will tell.
    recheck(identity)
  }

  private func refuseToAwait(
    _ connection: Connection, _ transaction: UInt32, _ status: HeapError.Code
  ) {
    AwaitReclaimedReply(.failure(status.rawValue)).encode(
      transactionID: transaction, into: &output)
    send(to: connection)
  }

  // MARK: Who keeps a deletion waiting, as far as /proc tells

  /// A deletion waits for long. One line of the log for each buffer; a search reads all of /proc, so
  /// there is one at a time, for all that came meanwhile.
  func reportHolders(of key: BufferKey) {
    overdueDeletions.append(key)
    if !isSearching { searchForHolders() }
  }

  func searchForHolders() {
    let buffers = overdueDeletions.compactMap { key -> (VMOIdentity, Logger.Metadata)? in
      guard let charge = ledger.charges[key], let identity = heap.buffers.identity(of: key) else {
        return nil
      }
      return (identity, metadata(key, charge))
    }
    overdueDeletions = []
    isSearching = !buffers.isEmpty
    guard isSearching else { return }
    let (log, mailbox) = (self.log, self.mailbox)
    workers.run(in: Workers.Lane(0, of: .server)) {
      let holders = Holder.find(Set(buffers.map(\.0)))
      for (identity, metadata) in buffers {
        let found = holders[identity]?.map(\.description).joined(separator: ", ")
        log.warning(
          "a buffer is still held 5 s after DeleteVmo",
          metadata: metadata.merging([
            "holders": "\(found ?? "none that /proc shows to this user")"
          ]) { $1 })
      }
      mailbox.post(.searched)
    }
  }
}
