internal import HeapProtocol
public import LinuxHeaps
internal import SystemPackage

/// A heap that another process serves (`heapd`), used like one in this process.
///
/// It needs two sockets: `fuchsia.hardware.sysmem/Heap` and `linuxheaps/Observer`. Dropping it closes
/// them and frees nothing: buffers live until nobody can use them any more. Where the service ends, its
/// buffers stay with their holders; calls throw `HeapError.Code.peerClosed` until a new `RemoteHeap`
/// is made, and clean-up actions of buffers allocated before do not run any more.
///
/// Clean-up actions run in this process after the service has taken the memory back, on a thread of the
/// client's own, and before ``deleteVmo(bufferCollectionID:bufferIndex:vmo:)`` returns.
public final class RemoteHeap: Heap {
  public let properties: HeapProperties
  private let heap: Connection
  private let observer: Connection
  private let buffers = RemoteBuffers()
  private let thread: ListeningThread

  /// Connects, and waits for the service to tell the heap's properties.
  ///
  /// - Parameters:
  ///   - socket: Where `heapd --socket` serves.
  ///   - observerSocket: Nil for the same path and `.observer`.
  /// Throws `HeapError.Code.notFound` where nobody serves, `HeapError.Code.accessDenied` where this
  /// user is not on the service's list.
  public init(socket: String, observerSocket: String? = nil) throws(HeapError) {
    let operation = "connect to the heap service"
    heap = try Connection(to: socket)
    observer = try Connection(to: observerSocket ?? socket + ".observer")
    let first = try heap.firstMessage(operation)
    let event = first.decode(as: OnRegisterEvent.self)
    guard let event else { throw RemoteError.nonsense(operation, heap.path) }
    properties = event.properties
    let connections = [heap, observer]
    thread = try attempt(operation) { () throws(Errno) in try ListeningThread(connections) }
  }

  deinit {
    heap.hangUp()
    // Its answers to come end with the connection; where none is to come nobody needs it any more.
    if observer.hangUpWhenIdle() { thread.join() }
  }

  public var liveBufferCount: Int { buffers.count }

  public func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    let operation = "allocate \(size.asByteCount)"
    if let excess = settings.excess {
      throw HeapError(.invalidArgs, operation, at: heap.path, cause: excess)
    }
    let request = AllocateVmoRequest(
      size: size, settings: settings, bufferCollectionID: bufferCollectionID,
      bufferIndex: bufferIndex)
    let reply = try heap.ask(operation) { request.encode(transactionID: $0, into: &$1) }
    let result = reply.decode(as: AllocateVmoResult.self)
    switch result {
    case .vmo(let index):
      let vmo = try VMO(adopting: reply.takeHandle(index))
      watch(
        BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex), vmo, cleanup)
      // The service has closed what it got with the watch when it answers: the vmo is the only child.
      // Without that connection nothing was sent.
      _ = try? info(of: vmo)
      return vmo
    case .status(let status):
      throw RemoteError.refusal(HeapError.Code(rawValue: status), operation, heap.path)
    case nil: throw RemoteError.nonsense(operation, heap.path)
    }
  }

  /// The caller has the vmo still, so the service cannot have taken the buffer back before it is asked
  /// to tell.
  private func watch(_ key: BufferKey, _ vmo: borrowing VMO, _ cleanup: [CleanupAction]) {
    let id = buffers.insert(key, vmo.identity, cleanup)
    let buffers = self.buffers
    vmo.withDescriptor { number in
      observer.send(
        passing: number, { AwaitReclaimedRequest().encode(transactionID: $0, into: &$1) }
      ) { answer in
        // A connection that is over tells nothing of the buffer, and neither does a refusal.
        if case .message(let message) = answer,
          case .success = message.decode(as: AwaitReclaimedReply.self)?.result
        {
          buffers.end(id)
        } else {
          buffers.loseWatch(id)
        }
      }
    }
  }

  public func deleteVmo(
    bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: consuming VMO
  ) async throws(HeapError) {
    let key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
    let operation = "delete buffer \(bufferIndex) of collection \(bufferCollectionID)"
    let own: RemoteBuffers.ID?
    switch try beginDeletion(of: key, vmo) {
    case .begun(let id): own = id
    case .unknown: own = nil
    case .refused(let code):
      throw HeapError(
        code, operation, at: heap.path,
        cause: code == .notFound
          ? "this heap has no such buffer, or its deletion has begun"
          : "the vmo is another buffer's", returning: ReturnedVMO(vmo))
    }
    let answer = Reply()
    send(key, vmo, answer)
    try await answer.wait(operation, heap)
    if let own { await ended(own) }
  }

  /// The service closes the connection of who passes a wrong handle, so it is asked before.
  private func beginDeletion(
    of key: BufferKey, _ vmo: borrowing VMO
  ) throws(HeapError) -> RemoteBuffers.Deletion {
    let deletion = buffers.beginDeletion(key, vmo.identity)
    guard case .unknown = deletion else { return deletion }
    do throws(HeapError) {
      return try info(of: vmo) == key ? .unknown : .refused(.badHandle)
    } catch  where error.code == .notFound {
      return .refused(.notFound)
    }
  }

  private func send(_ key: BufferKey, _ vmo: consuming VMO, _ answer: Reply) {
    let request = DeleteVmoRequest(
      bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex)
    vmo.withDescriptor { number in
      heap.send(
        passing: number, { request.encode(transactionID: $0, into: &$1) }, answer.come)
    }
  }

  private func ended(_ id: RemoteBuffers.ID) async {
    await withCheckedContinuation { continuation in
      buffers.whenEnded(id) { continuation.resume() }
    }
  }

  public func info(of vmo: borrowing VMO) throws(HeapError) -> BufferKey {
    let operation = "ask which buffer a vmo is of"
    let reply = try vmo.withDescriptor { number throws(HeapError) in
      try observer.ask(passing: number, operation) {
        GetVmoInfoRequest().encode(transactionID: $0, into: &$1)
      }
    }
    let result = reply.decode(as: GetVmoInfoReply.self)?.result
    switch result {
    case .success(let info):
      return BufferKey(
        bufferCollectionID: info.bufferCollectionID, bufferIndex: info.bufferIndex)
    case .failure(.notFound):
      throw HeapError(
        .notFound, operation, at: observer.path,
        cause: "the vmo is of no live buffer of this heap, or its deletion has begun")
    case .failure(let error):
      throw HeapError(
        .internal, operation, at: observer.path, cause: "the service answers error \(error)")
    case .frameworkError(let status):
      throw RemoteError.refusal(HeapError.Code(rawValue: status), operation, observer.path)
    case nil: throw RemoteError.nonsense(operation, observer.path)
    }
  }

  public func attachLifetimeTracking(
    _ descriptor: consuming OwnedFD, bufferCollectionID: UInt64, buffersRemaining: UInt32
  ) throws(HeapError) {
    let operation = "watch collection \(bufferCollectionID)"
    let request = AttachLifetimeTrackingRequest(
      buffersRemaining: buffersRemaining, bufferCollectionID: bufferCollectionID)
    let reply = try observer.ask(passing: descriptor.rawValue, operation) {
      request.encode(transactionID: $0, into: &$1)
    }
    let result = reply.decode(as: AttachLifetimeTrackingReply.self)?.result
    switch result {
    case .success: return
    case .failure(let status), .frameworkError(let status):
      throw RemoteError.refusal(HeapError.Code(rawValue: status), operation, observer.path)
    case nil: throw RemoteError.nonsense(operation, observer.path)
    }
  }

  /// What the service tells of itself, as JSON: connections, quotas and buffers.
  public func status() throws(HeapError) -> String {
    try ServiceStatus.read(observer)
  }
}
