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

  /// Whether AllocateVmoFrom can be served.
  var takesClientMemory: Bool { hasMemory && UDMABufHeap.isUsable }

  func serve(
    _ connection: Connection, _ header: MessageHeader, _ message: RawSpan,
    _ handles: consuming StrangerFDs
  ) {
    do throws(WireError) {
      switch header.ordinal {
      case .allocateVmo:
        let request = try AllocateVmoRequest(decoding: message, handleCount: handles.count)
        allocate(connection, header, request.key, request.size, request.settings, from: nil)
      case .allocateVmoFrom:
        let request = try AllocateVmoFromRequest(decoding: message, handleCount: handles.count)
        let memfd = handles.take(at: request.memory.rawValue)
        allocate(connection, header, request.key, request.size, request.settings, from: memfd)
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

  // MARK: AllocateVmo and AllocateVmoFrom

  /// - Parameter memfd: The client's, with AllocateVmoFrom.
  private func allocate(
    _ connection: Connection, _ header: MessageHeader, _ key: BufferKey, _ size: UInt64,
    _ settings: SingleBufferSettings, from memfd: consuming StrangerFD?
  ) {
    do throws(HeapError) {
      let wanted = BufferRequest(
        key: key, size: try size.checkedAsVmoSize(), settings: settings,
        owner: connection.peer.user)
      switch reserve(wanted, connection, header.bringsMemory) {
      case .failure(let refusal): fail(connection, header, refusal.code)
      case .success(let place):
        let isDone =
          store == nil && !header.bringsMemory
          && allocateHere(connection, header, place, wanted)
        if !isDone { allocateOnWorker(connection, header, place, wanted, memfd) }
      }
    } catch {
      fail(connection, header, error.code)
    }
  }

  private struct Refusal: Error { let code: HeapError.Code }

  /// Puts the buffer on its user's account.
  private func reserve(
    _ request: borrowing BufferRequest, _ connection: Connection, _ bringsMemory: Bool
  ) -> Result<Int, Refusal> {
    if buffers.place(of: request.key) != nil { return .failure(Refusal(code: .alreadyExists)) }
    // Vmos without pages are names: only their number counts. What a client brings its control group is charged for.
    let bytes = hasMemory ? request.size : 0
    let charge = bringsMemory ? 0 : bytes
    let (code, reason): (HeapError.Code, StaticString)
    let canServe =
      bringsMemory
      ? hasMemory && request.settings.takesAnyMemory : heap.hasMemory(for: request.settings)
    if !canServe {
      (code, reason) = (.notSupported, "the heap has no contiguous or secure memory")
    } else if !bringsMemory && !shared.accounts.policy.quotas.admits(connection.peer) {
      (code, reason) = (.accessDenied, "the user has no quota, and brings no memory")
    } else if connection.requests >= shared.accounts.limits.requests {
      (code, reason) = (.noResources, "too many requests of the connection are under way")
    } else if !shared.hasDescriptors(for: connection.peer) {
      (code, reason) = (.noResources, "the server's descriptors are used up")
    } else if charge > shared.accounts.limits.total.bytes {
      // No matter of quotas: nobody could have it.
      (code, reason) = (.noMemory, "it is more than the service has in all")
    } else {
      switch buffers.add(request.key, bytes, charge: charge, for: connection) {
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

  /// False where it takes longer than the loop has.
  private func allocateHere(
    _ connection: Connection, _ header: MessageHeader, _ place: Int,
    _ request: borrowing BufferRequest
  ) -> Bool {
    do throws(HeapError) {
      guard let memory = try heap.makeMemoryAtOnce(for: request) else { return false }
      settle(place, memory, copies: 0, connection, header)
    } catch {
      fail(connection, header, place, error)
    }
    return true
  }

  private func allocateOnWorker(
    _ connection: Connection, _ header: MessageHeader, _ place: Int,
    _ request: consuming BufferRequest, _ memfd: consuming StrangerFD?
  ) {
    connection.requests += 1
    running += 1
    shared.descriptors.add(header.bringsMemory ? 2 : 1)
    let allocation = Allocation(connection.id, header, place, request, memfd)
    let (heap, mailbox, user) = (self.heap, shared.mailbox, connection.peer.user)
    let store = buffers.takeStorePlace(place, for: connection) ? self.store : nil
    let workers = header.bringsMemory ? shared.memoryWorkers : shared.workers
    let lane = header.bringsMemory ? 0 : connection.id
    workers.run(in: Workers.Lane(lane, of: .user(user))) {
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
    let (header, place) = (allocation.header, allocation.place)
    shared.descriptors.remove(header.bringsMemory ? 2 : 1)
    let connection = connections[allocation.connection]
    connection?.requests -= 1
    if let memory = allocation.takeMemory() {
      settle(place, memory, copies: allocation.copies, connection, header)
    } else if let error = allocation.failure {
      fail(connection, header, place, error)
    }
  }

  private func settle(
    _ place: Int, _ memory: consuming BufferMemory, copies: Int, _ connection: Connection?,
    _ header: MessageHeader
  ) {
    do throws(Errno) {
      let child = try buffers.settle(place, memory, copies: copies)
      // Nothing follows an epitaph.
      if let connection, !connection.isEnding {
        send(child, header.transactionID, to: connection, header.bringsMemory)
        buffers.sent(place)
      } else {
        _ = consume child
        buffers.look(place)
      }
    } catch {
      fail(connection, header, place, HeapError(error, "keep \(buffers.key(at: place))"))
    }
  }

  private func send(
    _ child: consuming PassedHandle, _ transaction: UInt32, to connection: Connection,
    _ broughtMemory: Bool
  ) {
    if broughtMemory {
      let reply = AllocateVmoFromReply(.success(AllocatedVmo()))
      connections.send(reply, transaction, to: connection, passing: child)
    } else {
      connections.send(
        AllocateVmoResult.vmo(.first), transaction, to: connection, passing: child)
    }
  }

  private func fail(
    _ connection: Connection?, _ header: MessageHeader, _ place: Int, _ error: HeapError
  ) {
    let key = buffers.key(at: place)
    buffers.cancel(place)
    if let connection {
      if error.code == .noMemory { buffers.lookForRoom(of: connection.user) }
      connections.note(
        "allocation failed", connection, ["buffer": "\(key)", "error": "\(error)"])
    }
    fail(connection, header, error.code)
  }

  private func fail(_ connection: Connection?, _ header: MessageHeader, _ status: HeapError.Code) {
    shared.metrics.failed(status)
    guard let connection else { return }
    if header.bringsMemory {
      let reply = AllocateVmoFromReply(.failure(status.rawValue))
      connections.send(reply, header.transactionID, to: connection)
    } else {
      connections.send(
        AllocateVmoResult.status(status.rawValue), header.transactionID, to: connection)
    }
  }

  // MARK: DeleteVmo

  private func delete(
    _ connection: Connection, _ transaction: UInt32, _ key: BufferKey,
    _ handle: consuming StrangerFD
  ) {
    guard shared.accounts.hasRoomToWait(connection, forDeletion: true) else {
      return connections.refuse(
        connection, .noResources, "too many deletions of the connection or its user wait")
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

extension MessageHeader {
  /// A request's, of the two that ask for a buffer.
  fileprivate var bringsMemory: Bool { ordinal == .allocateVmoFrom }
}

extension SingleBufferSettings {
  /// Whether single pages that nobody chose will do.
  fileprivate var takesAnyMemory: Bool {
    !asksForContiguous && bufferSettings?.isSecure != true && heapNode == nil
  }
}

/// An allocation on its way: to a worker, to the manager's store where there is one, and to its client.
///
/// Its memory has one owner at a time. Nobody else keeps its parent, which would stay open for as long.
final class Allocation: Sendable {
  private struct State: ~Copyable {
    /// The client's, until it is looked at.
    var memfd: StrangerFD?
    var memory: BufferMemory?
    var failure: HeapError?
    var copies = 0
  }

  let connection: UInt64
  /// Of its request.
  let header: MessageHeader
  let place: Int
  private let request: BufferRequest
  private let state: Guarded<State>

  init(
    _ connection: UInt64, _ header: MessageHeader, _ place: Int,
    _ request: consuming BufferRequest, _ memfd: consuming StrangerFD?
  ) {
    self.connection = connection
    self.header = header
    self.place = place
    self.request = request
    state = Guarded(State(memfd: memfd))
  }

  var key: BufferKey { request.key }

  /// Makes the memory; nil where that fails. Answers the name of the heap that it is of.
  func make(_ heap: some LocalHeap) -> String? {
    do throws(HeapError) {
      let memory = try makeMemory(heap)
      let name = memory.heapName
      let box = Guarded<BufferMemory?>(memory)
      state.withLock { $0.memory = box.withLock { $0.take() } }
      return name
    } catch {
      state.withLock { $0.failure = error }
      return nil
    }
  }

  private func makeMemory(_ heap: some LocalHeap) throws(HeapError) -> BufferMemory {
    if let memfd = state.withLock({ $0.memfd.take() }) {
      return try ClientMemory.make(request, of: memfd)
    }
    return try heap.makeMemory(for: request)
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
