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
        discard(handles, of: connection)
        allocate(connection, header.transactionID, request)
      case .deleteVmo:
        let request = try DeleteVmoRequest(decoding: message, handleCount: handles.count)
        delete(connection, header.transactionID, request, handles)
      default:
        discard(handles, of: connection)
        refuse(connection, .notSupported, "Heap has no method \(header.ordinal)")
      }
    } catch {
      discard(handles, of: connection)
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
    metrics.failed(refusal)
    reply(connection, transaction, refusal)
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
      (status, reason) = (.noResources, refusal)
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
    let (heap, store, mailbox, key) = (self.heap, self.store, self.mailbox, ticket.key)
    let user = connection.client.peer.user
    let allocate = { @Sendable () -> Result<Allocation, HeapError> in
      let slot = store?.newSlot()
      do throws(HeapError) {
        let vmo = try heap.allocateVmo(
          size: size, settings: settings, bufferCollectionID: key.bufferCollectionID,
          bufferIndex: key.bufferIndex, cleanup: slot.map { slot in [{ slot.drop() }] } ?? [])
        let allocation = Allocation(vmo)
        _ = heap.buffers.whenReclaimed(allocation.identity) { mailbox.post(.reclaimed(key)) }
        slot?.keep(
          heap.buffers, allocation.identity,
          as: StoredBufferName(key: key, user: user, heap: allocation.heap))
        return .success(allocation)
      } catch {
        return .failure(error)
      }
    }
    if heap.allocatesAtOnce && store == nil { return finish(ticket, allocate()) }
    connection.requests += 1
    runningAllocations += 1
    workers.run(in: Workers.Lane(connection.id, of: .user(user))) {
      mailbox.post(.allocated(ticket, allocate()))
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
      send(to: connection, passing: SharedFD(vmo.releaseDescriptor()))
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
      discard(handle, of: connection)
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
      discard(handle, of: connection)
      note(
        "DeleteVmo of an unknown buffer", connection, ["buffer": "\(key)"], at: .notice)
      answerDeletion(connection, transaction)
    case .wrongHandle(let handle):
      discard(handle, of: connection)
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

  // MARK: Answers that wait for a buffer's end

  // They go with their connection, and not with the buffer, which may be held for ever.

  func wait(
    for key: BufferKey, _ connection: Connection, _ transaction: UInt32,
    deletionBegan: MonotonicTime? = nil
  ) {
    connection.waits += 1
    connection.keysWaitedFor.insert(key)
    waiting[key, default: []].append(
      Waiting(
        connection: connection.id, transaction: transaction, deletionBegan: deletionBegan))
  }

  func answerWaiting(for key: BufferKey) {
    for waiting in waiting.removeValue(forKey: key) ?? [] {
      guard let connection = connections[waiting.connection] else { continue }
      connection.waits -= 1
      connection.keysWaitedFor.remove(key)
      if let began = waiting.deletionBegan {
        metrics.deleted(since: began)
        answerDeletion(connection, waiting.transaction)
      } else {
        AwaitReclaimedReply(.success(EmptyTable())).encode(
          transactionID: waiting.transaction, into: &output)
        send(to: connection)
      }
    }
  }

  func stopWaiting(_ connection: Connection) {
    for key in connection.keysWaitedFor {
      waiting[key]?.removeAll { $0.connection == connection.id }
      if waiting[key]?.isEmpty == true { waiting[key] = nil }
    }
  }

  // MARK: The buffers of the server before this one

  /// Takes up what the server before this one left: info, deletions and quotas go on.
  func takeOver(_ buffers: [InheritedBuffer]) {
    guard !buffers.isEmpty else { return }
    var bytes: UInt64 = 0
    for buffer in buffers { bytes += takeOver(buffer) }
    log.notice(
      "took over the previous server's buffers",
      metadata: ["buffers": "\(ledger.total.buffers)", "bytes": "\(bytes.asByteCount)"])
  }

  private func takeOver(_ buffer: InheritedBuffer) -> UInt64 {
    guard let descriptor = buffer.takeDescriptor() else { return 0 }
    let name = buffer.name
    let slot = store?.newSlot()
    slot?.isKept(as: name)
    let mailbox = self.mailbox
    do throws(HeapError) {
      // Two of our own: this process's, and the manager's.
      let taken = try heap.buffers.takeOver(
        name.key, parent: descriptor, copies: 1,
        withdrawal: { slot?.drop() }, cleanup: slot.map { slot in [{ slot.drop() }] } ?? [],
        admission: .standard
      ) { mailbox.post(.reclaimed(name.key)) }
      let bytes = taken.hasMemory ? taken.byteCount : 0
      ledger.takeOver(name.key, bytes, of: name.user, heap: name.heap)
      metrics.tookOver(bytes, heap: name.heap)
      return bytes
    } catch {
      log.error(
        "a stored descriptor is unusable",
        metadata: ["name": "\(name.description)", "error": "\(error)"])
      // Of two under one name the manager would drop both.
      if error.code != .alreadyExists { slot?.drop() }
      return 0
    }
  }
}

/// Whom to answer when a buffer is reclaimed.
struct Waiting {
  let connection: UInt64
  let transaction: UInt32
  /// When DeleteVmo came; nil for AwaitReclaimed.
  let deletionBegan: MonotonicTime?
}

/// Who asked for an allocation.
struct Ticket: Sendable {
  let connection: UInt64
  let transaction: UInt32
  let key: BufferKey
}

/// A new buffer on its way to its client.
final class Allocation: Sendable {
  let vmo: ReturnedVMO
  let heap: String
  let identity: VMOIdentity
  /// Whether the kernel tells of its last close.
  let isReported: Bool

  init(_ vmo: consuming VMO) {
    heap = vmo.heapName ?? ""
    identity = vmo.identity
    isReported = vmo.kind != .dmaBuf
    self.vmo = ReturnedVMO(vmo)
  }
}
