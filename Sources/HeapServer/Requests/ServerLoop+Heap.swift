internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

// fuchsia.hardware.sysmem/Heap

extension ServerLoop {
  func serveHeap(
    _ connection: Connection, _ header: MessageHeader, _ message: RawSpan,
    _ handles: consuming ReceivedDescriptors
  ) {
    do throws(WireError) {
      switch header.ordinal {
      case .allocateVmo:
        let request = try AllocateVmoRequest(decoding: message, handleCount: handles.count)
        dispose(handles, of: connection)
        allocate(connection, header.transactionID, request)
      case .deleteVmo:
        let request = try DeleteVmoRequest(decoding: message, handleCount: handles.count)
        delete(connection, header.transactionID, request, handles)
      default:
        dispose(handles, of: connection)
        refuse(connection, .notSupported, "Heap has no method \(header.ordinal)")
      }
    } catch {
      dispose(handles, of: connection)
      refuse(connection, .invalidArgs, "\(error)")
    }
  }

  // MARK: AllocateVmo

  private func allocate(
    _ connection: Connection, _ transaction: UInt32, _ request: AllocateVmoRequest
  ) {
    let key = request.key
    let ticket = Ticket(connection: connection.id, transaction: transaction, key: key)
    let refusal: HeapError.Code
    do throws(HeapError) {
      let size = try request.size.checkedAsVmoSize()
      if let reason = reserve(key, size, connection) {
        refusal = reason
      } else {
        return make(size, request.settings, ticket, connection)
      }
    } catch {
      refusal = error.code
    }
    answer(connection, transaction, refusal)
  }

  /// Puts the buffer on its user's account. Nil where that was possible.
  private func reserve(
    _ key: BufferKey, _ size: UInt64, _ connection: Connection
  ) -> HeapError.Code? {
    if ledger.charges[key] != nil { return .alreadyExists }
    let (status, reason): (HeapError.Code, String)
    // Vmos without pages are names: only their number counts.
    let bytes = heap.properties.hasMemory ? size : 0
    if connection.requests >= policy.limits.requests {
      (status, reason) = (.noResources, "too many requests of the connection are under way")
    } else if isOutOfDescriptors {
      (status, reason) = (.noResources, "the server's descriptors are used up")
    } else if bytes > policy.limits.total.bytes {
      // No matter of quotas: nobody could have it.
      (status, reason) = (.noMemory, "it is more than the service has in all")
    } else if let refusal = ledger.add(key, bytes, for: connection, within: policy.limits) {
      (status, reason) = (.noResources, "\(refusal)")
    } else {
      return nil
    }
    note(
      "allocation refused", connection,
      ["buffer": "\(key)", "size": "\(size.asByteCount)", "reason": "\(reason)"])
    return status
  }

  private func make(
    _ size: UInt64, _ settings: SingleBufferSettings, _ ticket: Ticket, _ connection: Connection
  ) {
    let maker = Maker(heap: heap, store: store, mailbox: mailbox)
    let user = connection.client.peer.user
    if heap.allocatesAtOnce && store == nil {
      finish(ticket, maker.make(size, settings, ticket.key, for: user))
    } else {
      let mailbox = self.mailbox
      connection.requests += 1
      runningAllocations += 1
      workers.run(in: Workers.Lane(connection.id, of: .user(user))) {
        mailbox.post(.allocated(ticket, maker.make(size, settings, ticket.key, for: user)))
      }
    }
  }

  /// Where its connection is gone the new vmo goes with `result`, and the buffer after it.
  func finish(_ ticket: Ticket, _ result: Result<Allocation, HeapError>) {
    let connection = connections[ticket.connection]
    switch result {
    case .success(let allocation):
      settle(ticket.key, allocation)
      guard let connection, let vmo = allocation.vmo.take() else { return }
      AllocateVmoResult.vmo(.first).encode(transactionID: ticket.transaction, into: &output)
      send(to: connection, passing: vmo.releaseDescriptor())
    case .failure(let error):
      _ = ledger.remove(ticket.key)
      metrics.failed(error.code)
      guard let connection else { return }
      note("allocation failed", connection, ["buffer": "\(ticket.key)", "error": "\(error)"])
      reply(connection, ticket.transaction, error.code)
    }
  }

  private func settle(_ key: BufferKey, _ allocation: Allocation) {
    let unreported = allocation.isReported ? nil : allocation.identity
    ledger.settle(key, heap: allocation.heap, unreported: unreported)
    guard let charge = ledger.charges[key] else { return }
    if let unreported { charge.client?.unreportedBuffers.insert(unreported) }
    metrics.allocated(charge.size, heap: allocation.heap)
    log.debug("buffer allocated", metadata: metadata(key, charge))
  }

  private func answer(_ connection: Connection, _ transaction: UInt32, _ status: HeapError.Code) {
    metrics.failed(status)
    reply(connection, transaction, status)
  }

  private func reply(_ connection: Connection, _ transaction: UInt32, _ status: HeapError.Code) {
    AllocateVmoResult.status(status.rawValue).encode(transactionID: transaction, into: &output)
    send(to: connection)
  }

  // MARK: DeleteVmo

  private func delete(
    _ connection: Connection, _ transaction: UInt32, _ request: DeleteVmoRequest,
    _ handles: consuming ReceivedDescriptors
  ) {
    let handle = handles.take(at: request.vmo.rawValue)
    let key = request.key
    guard connection.waits < policy.limits.waits else {
      dispose(handle, of: connection)
      return refuse(connection, .noResources, "too many deletions of the connection wait")
    }
    let began = MonotonicTime.now
    let isFirst = waiting[key]?.contains { $0.deletionBegan != nil } != true
    switch beginDeletion(of: key, handle) {
    case .begun:
      wait(for: key, connection, transaction, deletionBegan: began)
      // Where the handle was the last the buffer is gone already.
      readMail()
      if isFirst && ledger.charges[key] != nil { deadlines.set(.deletion(key), after: 5_000) }
    case .unknown(let handle):
      dispose(handle, of: connection)
      note(
        "deletion of a buffer that is not there", connection, ["buffer": "\(key)"], at: .notice)
      answerDeletion(connection, transaction)
    case .wrongHandle(let handle):
      dispose(handle, of: connection)
      refuse(connection, .invalidArgs, "DeleteVmo of \(key) with another buffer's vmo")
    }
  }

  /// A handle that tells no identity, as of a file system that fails, is no buffer's.
  private func beginDeletion(
    of key: BufferKey, _ handle: consuming OwnedFD
  ) -> LiveBuffers.Deletion {
    if let identity = try? VMOIdentity(of: handle) {
      return heap.buffers.delete(key, handle, identity)
    }
    return ledger.charges[key] == nil ? .unknown(handle) : .wrongHandle(handle)
  }

  func answerDeletion(_ connection: Connection, _ transaction: UInt32) {
    DeleteVmoReply().encode(transactionID: transaction, into: &output)
    send(to: connection)
  }

  /// After all of a buffer is gone.
  func forget(_ key: BufferKey) {
    guard let charge = ledger.remove(key) else { return }
    deadlines.cancel(.deletion(key))
    metrics.reclaimed(charge.size, heap: charge.heap)
    log.debug("buffer reclaimed", metadata: metadata(key, charge))
    if let identity = charge.unreported, let client = charge.client {
      client.unreportedBuffers.remove(identity)
      forgetIfGone(client)
    }
    answerWaiting(for: key)
  }

  func metadata(_ key: BufferKey, _ charge: Ledger.Charge) -> Logger.Metadata {
    [
      "buffer": "\(key)", "collection": "\(key.bufferCollectionID)",
      "index": "\(key.bufferIndex)", "size": "\(charge.size.asByteCount)",
      "heap": "\(charge.heap)", "user": "\(charge.user)",
    ]
  }
}
