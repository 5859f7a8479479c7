internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// fuchsia.hardware.sysmem/Heap: AllocateVmo and DeleteVmo; and linuxheaps/Heap on the same connection.
final class HeapRequests {
  /// Allocations on workers; each has a child here for a while.
  private(set) var running = 0
  private let shared: Shared
  private let heap: any LocalHeap
  private let hasMemory: Bool
  private let allocatesHere: Bool
  private let store: ParentStore?
  private let buffers: ServedBuffers
  private let connections: Connections

  init(
    _ shared: Shared, _ heap: any LocalHeap, _ store: ParentStore?, _ buffers: ServedBuffers,
    _ connections: Connections
  ) {
    self.shared = shared
    self.heap = heap
    hasMemory = heap.properties.hasMemory
    allocatesHere = heap.allocatesAtOnce && store == nil
    self.store = store
    self.buffers = buffers
    self.connections = connections
  }

  func serve(
    _ connection: Connection, _ header: MessageHeader, _ message: RawSpan,
    _ handles: consuming ReceivedDescriptors
  ) {
    do throws(WireError) {
      switch header.ordinal {
      case .allocateVmo:
        let request = try AllocateVmoRequest(decoding: message, handleCount: handles.count)
        connections.discard(handles, of: connection)
        allocate(connection, header.transactionID, request)
      case .deleteVmo:
        let request = try DeleteVmoRequest(decoding: message, handleCount: handles.count)
        let handle = handles.take(at: request.vmo.rawValue)
        delete(connection, header.transactionID, request.key, handle)
      case .watchBuffers:
        _ = try WatchBuffersRequest(decoding: message, handleCount: handles.count)
        connections.discard(handles, of: connection)
        connection.watchesBuffers = true
        connections.send(
          WatchBuffersReply(.success(EmptyTable())), header.transactionID, to: connection)
      default:
        connections.discard(handles, of: connection)
        connections.refuse(connection, .notSupported, "Heap has no method \(header.ordinal)")
      }
    } catch {
      connections.discard(handles, of: connection)
      connections.refuse(connection, .invalidArgs, "\(error)")
    }
  }

  // MARK: AllocateVmo

  private func allocate(
    _ connection: Connection, _ transaction: UInt32, _ request: AllocateVmoRequest
  ) {
    do throws(HeapError) {
      let size = try request.size.checkedAsVmoSize()
      if let refusal = reserve(request.key, size, connection) {
        fail(connection, transaction, refusal)
      } else if allocatesHere {
        allocateHere(connection, transaction, request.key, size, request.settings)
      } else {
        allocateOnWorker(connection, transaction, request.key, size, request.settings)
      }
    } catch {
      fail(connection, transaction, error.code)
    }
  }

  /// Puts the buffer on its user's account. Nil where that was possible.
  private func reserve(
    _ key: BufferKey, _ size: UInt64, _ connection: Connection
  ) -> HeapError.Code? {
    if buffers.has(key) { return .alreadyExists }
    let (status, reason): (HeapError.Code, StaticString)
    // Vmos without pages are names: only their number counts.
    let bytes = hasMemory ? size : 0
    if connection.requests >= shared.accounts.limits.requests {
      (status, reason) = (.noResources, "too many requests of the connection are under way")
    } else if shared.descriptors.isUsedUp {
      (status, reason) = (.noResources, "the server's descriptors are used up")
    } else if bytes > shared.accounts.limits.total.bytes {
      // No matter of quotas: nobody could have it.
      (status, reason) = (.noMemory, "it is more than the service has in all")
    } else if let refusal = buffers.add(key, bytes, for: connection) {
      (status, reason) = (.noResources, refusal)
    } else {
      return nil
    }
    connections.note(
      "allocation refused", connection,
      ["buffer": "\(key)", "size": "\(size.asByteCount)", "reason": "\(reason)"])
    return status
  }

  private func allocateHere(
    _ connection: Connection, _ transaction: UInt32, _ key: BufferKey, _ size: UInt64,
    _ settings: SingleBufferSettings
  ) {
    do throws(HeapError) {
      let vmo = try Self.allocate(heap, key, size, settings, shared.mailbox)
      buffers.settle(key, NewBuffer(vmo))
      answer(connection, transaction, vmo)
    } catch {
      fail(connection, transaction, key, error)
    }
  }

  private func allocateOnWorker(
    _ connection: Connection, _ transaction: UInt32, _ key: BufferKey, _ size: UInt64,
    _ settings: SingleBufferSettings
  ) {
    connection.requests += 1
    running += 1
    shared.descriptors.add()
    let (id, user) = (connection.id, connection.peer.user)
    let (heap, store, mailbox) = (self.heap, self.store, shared.mailbox)
    shared.workers.run(in: Workers.Lane(id, of: .user(user))) {
      do throws(HeapError) {
        let vmo = try Self.allocate(heap, key, size, settings, mailbox)
        let new = NewBuffer(vmo)
        let allocation = Allocation(
          connection: id, transaction: transaction, key: key,
          .made(new, ReturnedVMO(vmo)))
        guard let store else { return mailbox.post(.allocated(allocation)) }
        let name = StoredBufferName(key: key, user: user, heap: new.heap)
        store.keep(name, new.identity) { mailbox.post(.allocated(allocation)) }
      } catch {
        mailbox.post(
          .allocated(
            Allocation(connection: id, transaction: transaction, key: key, .failed(error))))
      }
    }
  }

  private static func allocate(
    _ heap: any LocalHeap, _ key: BufferKey, _ size: UInt64, _ settings: SingleBufferSettings,
    _ mailbox: Mailbox
  ) throws(HeapError) -> VMO {
    let vmo = try heap.allocateVmo(
      size: size, settings: settings, bufferCollectionID: key.bufferCollectionID,
      bufferIndex: key.bufferIndex, cleanup: [])
    _ = heap.buffers.whenReclaimed(vmo.identity) { mailbox.post(.reclaimed(key)) }
    return vmo
  }

  /// Where its connection is gone the new vmo goes with `allocation`, and the buffer after it.
  func finish(_ allocation: Allocation) {
    running -= 1
    shared.descriptors.remove()
    let connection = connections[allocation.connection]
    connection?.requests -= 1
    switch allocation.outcome {
    case .made(let new, let vmo):
      buffers.settle(allocation.key, new)
      guard let connection, let vmo = vmo.take() else { return }
      answer(connection, allocation.transaction, vmo)
    case .failed(let error): fail(connection, allocation.transaction, allocation.key, error)
    }
  }

  private func answer(
    _ connection: Connection, _ transaction: UInt32, _ vmo: consuming VMO
  ) {
    connections.send(
      AllocateVmoResult.vmo(.first), transaction, to: connection,
      passing: vmo.releaseDescriptor())
  }

  private func fail(
    _ connection: Connection?, _ transaction: UInt32, _ key: BufferKey, _ error: HeapError
  ) {
    buffers.remove(key)
    if let connection {
      connections.note(
        "allocation failed", connection, ["buffer": "\(key)", "error": "\(error)"])
    }
    fail(connection, transaction, error.code)
  }

  private func fail(_ connection: Connection?, _ transaction: UInt32, _ status: HeapError.Code) {
    shared.metrics.failed(status)
    guard let connection else { return }
    connections.send(AllocateVmoResult.status(status.rawValue), transaction, to: connection)
  }

  // MARK: DeleteVmo

  private func delete(
    _ connection: Connection, _ transaction: UInt32, _ key: BufferKey,
    _ handle: consuming OwnedFD
  ) {
    guard connection.waits < shared.accounts.limits.waits else {
      connections.discard(handle, of: connection)
      return connections.refuse(
        connection, .noResources, "too many deletions of the connection wait")
    }
    let began = MonotonicTime.now
    switch buffers.delete(key, handle) {
    case .begun:
      buffers.wait(
        for: key,
        Waiting(connection: connection, transaction: transaction, deletionBegan: began))
    case .unknown(let handle):
      connections.discard(handle, of: connection)
      connections.note(
        "DeleteVmo of an unknown buffer", connection, ["buffer": "\(key)"], at: .notice)
      connections.send(DeleteVmoReply(), transaction, to: connection)
    case .wrongHandle(let handle):
      connections.discard(handle, of: connection)
      connections.refuse(connection, .invalidArgs, "DeleteVmo of \(key) with another buffer's vmo")
    }
  }
}

/// An allocation that a worker has done, on its way to its client.
final class Allocation: Sendable {
  enum Outcome {
    case made(NewBuffer, ReturnedVMO)
    case failed(HeapError)
  }

  let connection: UInt64
  let transaction: UInt32
  let key: BufferKey
  let outcome: Outcome

  init(connection: UInt64, transaction: UInt32, key: BufferKey, _ outcome: Outcome) {
    self.connection = connection
    self.transaction = transaction
    self.key = key
    self.outcome = outcome
  }
}
