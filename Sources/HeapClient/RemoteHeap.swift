internal import Glibc
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
  private let thread: ReceivingThread

  /// Connects, and waits for the service to tell the heap's properties.
  ///
  /// - Parameters:
  ///   - socket: Where `heapd --socket` serves.
  ///   - observerSocket: Nil for the same path and `.observer`.
  /// - Throws: `HeapError.Code.notFound` where nobody serves, `HeapError.Code.accessDenied` where this
  ///   user is not on the service's list.
  public init(socket: String, observerSocket: String? = nil) throws(HeapError) {
    let operation = "connect to the heap service"
    heap = try Connection(to: socket)
    observer = try Connection(to: observerSocket ?? socket + ".observer")
    let event = try heap.firstMessage(operation).decode(as: OnRegisterEvent.self)
    guard let event else { throw heap.malformed(operation) }
    properties = event.properties
    let connections = [heap, observer]
    thread = try attempt(operation) { () throws(Errno) in try ReceivingThread(connections) }
  }

  deinit {
    heap.hangUp()
    // Its answers to come end with the connection; where none is to come nobody needs it any more.
    if observer.hangUpWhenIdle() { thread.join() }
  }

  public var liveBufferCount: Int { buffers.count }

  // MARK: Allocation

  public func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    let operation = "allocate \(size.asByteCount)"
    let request = AllocateVmoRequest(
      size: size, settings: settings, bufferCollectionID: bufferCollectionID,
      bufferIndex: bufferIndex)
    do throws(WireError) { try request.checkBounds() } catch {
      // A heap in this process has no such bounds.
      throw heap.error(
        .invalidArgs, operation, cause: "\(error.field) has more elements than a message can carry")
    }
    let reply = try heap.ask(request, operation)
    switch reply.decode(as: AllocateVmoResult.self) {
    case .vmo(let index):
      let vmo = try VMO(adopting: reply.takeHandle(index))
      watch(request.key, vmo, cleanup)
      // The service has closed what it got with the watch when it answers: the vmo is the only child.
      // Without that connection nothing was sent.
      _ = try? info(of: vmo)
      return vmo
    case .status(let status): throw heap.refusal(status, operation)
    case nil: throw heap.malformed(operation)
    }
  }

  /// The caller has the vmo still, so the service cannot have taken the buffer back before it is asked
  /// to tell.
  private func watch(_ key: BufferKey, _ vmo: borrowing VMO, _ cleanup: [CleanupAction]) {
    let id = buffers.insert(key, vmo.identity, cleanup)
    let buffers = self.buffers
    vmo.withDescriptor { number in
      observer.send(AwaitReclaimedRequest(), passing: number) { answer in
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

  // MARK: Deletion

  public func deleteVmo(
    bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: consuming VMO
  ) async throws(HeapError) {
    let request = DeleteVmoRequest(
      bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
    let operation = "delete buffer \(bufferIndex) of collection \(bufferCollectionID)"
    let own: RemoteBuffers.ID?
    switch try beginDeletion(of: request.key, vmo) {
    case .begun(let id): own = id
    case .unknown: own = nil
    case .refused(let code):
      throw heap.error(
        code, operation,
        cause: code == .notFound
          ? "this heap has no such buffer, or its deletion has begun"
          : "the vmo is another buffer's", returning: ReturnedVMO(vmo))
    }
    let answer = AwaitedAnswer()
    send(request, vmo, answer)
    let reply = try heap.message(await answer.get(), operation)
    if reply.decode(as: DeleteVmoReply.self) == nil { throw heap.malformed(operation) }
    if let own {
      await withCheckedContinuation { continuation in
        buffers.whenEnded(own) { continuation.resume() }
      }
    }
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

  /// The vmo is closed here: its service waits for the last handle.
  private func send(_ request: DeleteVmoRequest, _ vmo: consuming VMO, _ answer: AwaitedAnswer) {
    vmo.withDescriptor { heap.send(request, passing: $0, answer.set) }
  }

  // MARK: The observer

  public func info(of vmo: borrowing VMO) throws(HeapError) -> BufferKey {
    let operation = "ask which buffer a vmo is of"
    let reply = try vmo.withDescriptor { number throws(HeapError) in
      try observer.ask(GetVmoInfoRequest(), passing: number, operation)
    }
    switch reply.decode(as: GetVmoInfoReply.self)?.result {
    case .success(let key): return key
    case .failure(.notFound):
      throw observer.error(
        .notFound, operation,
        cause: "the vmo is of no live buffer of this heap, or its deletion has begun")
    case .failure(let error):
      throw observer.error(
        .internal, operation, cause: "the service answers sysmem error \(error.rawValue)")
    case .frameworkError(let status): throw observer.refusal(status, operation)
    case nil: throw observer.malformed(operation)
    }
  }

  public func attachLifetimeTracking(
    _ descriptor: consuming OwnedFD, bufferCollectionID: UInt64, buffersRemaining: UInt32
  ) throws(HeapError) {
    let operation = "watch collection \(bufferCollectionID)"
    let request = AttachLifetimeTrackingRequest(
      buffersRemaining: buffersRemaining, bufferCollectionID: bufferCollectionID)
    let reply = try observer.ask(request, passing: descriptor.rawValue, operation)
    switch reply.decode(as: AttachLifetimeTrackingReply.self)?.result {
    case .success: return
    case .failure(let status), .frameworkError(let status):
      throw observer.refusal(status, operation)
    case nil: throw observer.malformed(operation)
    }
  }

  /// Asks the service for its connections, quotas and buffers.
  ///
  /// - Returns: One JSON object.
  public func status() throws(HeapError) -> String {
    let operation = "ask the service for its status"
    let reply = try observer.ask(GetStatusRequest(), operation)
    switch reply.decode(as: GetStatusReply.self)?.result {
    case .success(let status) where status.size <= Self.longestStatus:
      return try Self.text(of: reply.takeHandle(status.report), Int(status.size), operation)
    case .failure(let status), .frameworkError(let status):
      throw observer.refusal(status, operation)
    default: throw observer.malformed(operation)
    }
  }

  /// Bytes; a larger report is malformed.
  private static let longestStatus: UInt64 = 64 << 20

  private static func text(
    of file: consuming OwnedFD, _ size: Int, _ operation: String
  ) throws(HeapError) -> String {
    let number = file.rawValue
    var bytes = [UInt8](repeating: 0, count: size)
    let count = try attempt(operation) { () throws(Errno) in
      try call { unsafe pread(number, &bytes, size, 0) }
    }
    guard count == size else {
      throw HeapError(.io, operation, cause: "the report is truncated")
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
