internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// fuchsia.hardware.sysmem/Heap: AllocateVmo and DeleteVmo; and linuxheaps/Heap on the same connection.
final class HeapRequests {
  /// Allocations on workers.
  private(set) var running = 0
  private let shared: Shared
  private let heap: any LocalHeap
  private let hasMemory: Bool
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
    self.store = store
    self.buffers = buffers
    self.connections = connections
  }

  func serve(
    _ connection: Connection, _ header: MessageHeader, _ message: RawSpan,
    _ handles: consuming StrangerFDs
  ) {
    do throws(WireError) {
      switch header.ordinal {
      case .allocateVmo:
        let request = try AllocateVmoRequest(decoding: message, handleCount: handles.count)
        allocate(connection, header.transactionID, request)
      case .deleteVmo:
        let request = try DeleteVmoRequest(decoding: message, handleCount: handles.count)
        let handle = handles.take(at: request.vmo.rawValue)
        delete(connection, header.transactionID, request.key, handle)
      case .watchBuffers:
        _ = try WatchBuffersRequest(decoding: message, handleCount: handles.count)
        connection.watchesBuffers = true
        connections.send(
          WatchBuffersReply(.success(EmptyTable())), header.transactionID, to: connection)
      default:
        connections.refuse(connection, .notSupported, "Heap has no method \(header.ordinal)")
      }
    } catch {
      connections.refuse(connection, .invalidArgs, "\(error)")
    }
  }

  // MARK: AllocateVmo

  private func allocate(
    _ connection: Connection, _ transaction: UInt32, _ request: AllocateVmoRequest
  ) {
    do throws(HeapError) {
      let wanted = BufferRequest(
        key: request.key, size: try request.size.checkedAsVmoSize(), settings: request.settings,
        owner: connection.peer.user)
      switch reserve(wanted, connection) {
      case .failure(let refusal): fail(connection, transaction, refusal.code)
      case .success(let place) where store == nil && heap.allocatesAtOnce(wanted):
        allocateHere(connection, transaction, place, wanted)
      case .success(let place): allocateOnWorker(connection, transaction, place, wanted)
      }
    } catch {
      fail(connection, transaction, error.code)
    }
  }

  private struct Refusal: Error { let code: HeapError.Code }

  /// Puts the buffer on its user's account.
  private func reserve(
    _ request: borrowing BufferRequest, _ connection: Connection
  ) -> Result<Int, Refusal> {
    if buffers.place(of: request.key) != nil { return .failure(Refusal(code: .alreadyExists)) }
    // Vmos without pages are names: only their number counts.
    let bytes = hasMemory ? request.size : 0
    let (code, reason): (HeapError.Code, StaticString)
    if !heap.hasMemory(for: request.settings) {
      (code, reason) = (.notSupported, "the heap has no contiguous or secure memory")
    } else if connection.requests >= shared.accounts.limits.requests {
      (code, reason) = (.noResources, "too many requests of the connection are under way")
    } else if !shared.hasDescriptors(for: connection.peer) {
      (code, reason) = (.noResources, "the server's descriptors are used up")
    } else if bytes > shared.accounts.limits.total.bytes {
      // No matter of quotas: nobody could have it.
      (code, reason) = (.noMemory, "it is more than the service has in all")
    } else {
      switch buffers.add(request.key, bytes, for: connection) {
      case .place(let place): return .success(place)
      case .refused(let quota):
        (code, reason) = (.noResources, quota)
        buffers.lookForRoom(of: connection.user)
      }
    }
    let (key, size) = (request.key, request.size)
    connections.note(
      "allocation refused", connection,
      ["buffer": "\(key)", "size": "\(size.asByteCount)", "reason": "\(reason)"])
    return .failure(Refusal(code: code))
  }

  private func allocateHere(
    _ connection: Connection, _ transaction: UInt32, _ place: Int,
    _ request: borrowing BufferRequest
  ) {
    do throws(HeapError) {
      settle(place, try heap.makeMemory(for: request), copies: 0, connection, transaction)
    } catch {
      fail(connection, transaction, place, error)
    }
  }

  private func allocateOnWorker(
    _ connection: Connection, _ transaction: UInt32, _ place: Int,
    _ request: consuming BufferRequest
  ) {
    connection.requests += 1
    running += 1
    shared.descriptors.add()
    let allocation = Allocation(connection.id, transaction, place, request)
    let (heap, store, mailbox, user) = (self.heap, self.store, shared.mailbox, connection.peer.user)
    shared.workers.run(in: Workers.Lane(connection.id, of: .user(user))) {
      if let name = allocation.make(heap), let store {
        store.keep(StoredBufferName(key: allocation.key, user: user, heap: name), allocation)
      } else {
        mailbox.post(.allocated(allocation))
      }
    }
  }

  /// Where its connection is gone the buffer goes here and now.
  func finish(_ allocation: Allocation) {
    running -= 1
    shared.descriptors.remove()
    let connection = connections[allocation.connection]
    connection?.requests -= 1
    let (transaction, place) = (allocation.transaction, allocation.place)
    if let memory = allocation.takeMemory() {
      settle(place, memory, copies: allocation.copies, connection, transaction)
    } else if let error = allocation.failure {
      fail(connection, transaction, place, error)
    }
  }

  private func settle(
    _ place: Int, _ memory: consuming BufferMemory, copies: Int, _ connection: Connection?,
    _ transaction: UInt32
  ) {
    do throws(Errno) {
      let child = try buffers.settle(place, memory, copies: copies)
      // Nothing follows an epitaph.
      if let connection, !connection.isEnding {
        connections.send(
          AllocateVmoResult.vmo(.first), transaction, to: connection, passing: child)
        buffers.sent(place)
      } else {
        _ = consume child
        buffers.look(place)
      }
    } catch {
      fail(connection, transaction, place, HeapError(error, "keep \(buffers.key(at: place))"))
    }
  }

  private func fail(
    _ connection: Connection?, _ transaction: UInt32, _ place: Int, _ error: HeapError
  ) {
    let key = buffers.key(at: place)
    buffers.cancel(place)
    if let connection {
      if error.code == .noMemory { buffers.lookForRoom(of: connection.user) }
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
    _ handle: consuming StrangerFD
  ) {
    guard connection.waits < shared.accounts.limits.waits else {
      return connections.refuse(
        connection, .noResources, "too many deletions of the connection wait")
    }
    let waiting = Waiting(
      connection: connection, transaction: transaction, deletionBegan: MonotonicTime.now)
    switch buffers.delete(key, handle, waiting) {
    case .begun: break
    case .unknown:
      connections.note(
        "DeleteVmo of an unknown buffer", connection, ["buffer": "\(key)"], at: .notice)
      connections.send(DeleteVmoReply(), transaction, to: connection)
    case .wrongHandle:
      connections.refuse(connection, .invalidArgs, "DeleteVmo of \(key) with another buffer's vmo")
    }
  }
}

/// An allocation on its way: to a worker, to the manager's store where there is one, and to its client.
///
/// Its memory has one owner at a time. Nobody else keeps its parent, which would stay open for as long.
final class Allocation: Sendable {
  private struct State: ~Copyable {
    var memory: BufferMemory?
    var failure: HeapError?
    var copies = 0
  }

  let connection: UInt64
  let transaction: UInt32
  let place: Int
  private let request: BufferRequest
  private let state = Guarded(State())

  init(
    _ connection: UInt64, _ transaction: UInt32, _ place: Int, _ request: consuming BufferRequest
  ) {
    self.connection = connection
    self.transaction = transaction
    self.place = place
    self.request = request
  }

  var key: BufferKey { request.key }

  /// Makes the memory; nil where that fails. Answers the name of the heap that it is of.
  func make(_ heap: some LocalHeap) -> String? {
    do throws(HeapError) {
      let memory = try heap.makeMemory(for: request)
      let name = memory.heapName
      let box = Guarded<BufferMemory?>(memory)
      state.withLock { $0.memory = box.withLock { $0.take() } }
      return name
    } catch {
      state.withLock { $0.failure = error }
      return nil
    }
  }

  func takeMemory() -> BufferMemory? { state.withLock { $0.memory.take() } }

  var failure: HeapError? { state.withLock { $0.failure } }

  // MARK: The manager's copy

  func withParent(_ body: (any Parent) -> Void) {
    state.withLock { if let parent = $0.memory?.parent { body(parent) } }
  }

  /// How many of its parent's descriptor the manager keeps that the kernel counts as it counts children.
  var copies: Int { state.withLock { $0.copies } }

  /// The manager does not say whether it kept its copy; of a dma-buf the kernel's count does, less the parent. Only for now:
  /// systemd closes what it does not keep on another thread, after it was heard.
  func countCopies() {
    state.withLock { state in
      do throws(Errno) {
        if let count = try state.memory?.parent.referenceCount() {
          state.copies = max(0, count - 1)
        }
      } catch {
        // One too many is withdrawn in vain; one too few would be taken for a child for ever.
        state.copies = 1
      }
    }
  }
}
