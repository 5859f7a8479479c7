internal import CLibrary
internal import HeapProtocol
public import LinuxHeaps
internal import SystemPackage

/// A heap that another process serves (`heapd`), used like one in this process.
///
/// It needs two sockets: `fuchsia.hardware.sysmem/Heap`, on which it has the service tell of buffers' ends as well, and
/// `linuxheaps/Observer`, which it connects to when `info`, `attachLifetimeTracking` or `status` is first called.
/// Dropping it closes them and frees nothing: buffers live until nobody can use them any more. Where the service
/// ends, its buffers stay with their holders; calls throw `HeapError.Code.peerClosed` until a new `RemoteHeap` is made,
/// and clean-up actions of buffers allocated before do not run any more.
///
/// Clean-up actions run in this process after the service has taken the memory back, one after another on a thread
/// of the client's own, and before `deleteVmo` returns. They may call the heap. What one waits for, the clean-up of
/// this client's other buffers waits for too, and no other call.
///
/// Where `deleteVmo` waits for a mapping of this process, the log says so after a second (`LinuxHeaps.deleteVmo`).
///
/// ## Deadlines
///
/// A request that is not answered in time throws `HeapError.Code.timedOut`; the heap stays usable, and what was
/// begun goes on:
///
/// - An allocation may still be made. Its vmo is closed when the answer comes, and the buffer goes back; until then
///   its (collection, index) is taken.
/// - A deletion has begun, and the vmo is closed. The buffer ends when its last holder lets go; its clean-up
///   actions run then. A deadline covers waiting for other holders, who may take for ever, but not the clean-up.
/// - A handle to track a lifetime with may have been taken, or is closed.
///
/// ## Waiting
///
/// Calls that are not `async` block their thread until they are answered, and receive on it: the cheapest way. In an
/// `async` function Swift chooses those that are, where there are both. They block for nothing but locks that are held
/// for a moment: not for answers, nor for room in the socket.
///
/// ## What is trusted
///
/// A service made the memory and may keep any rights to it, so it has to be trusted with what is written there.
/// What it sends is checked: malformed answers are refused, and a vmo has to be a dma-buf or a memfd of at least
/// the size that was asked for.
public final class RemoteHeap: Heap {
  public let properties: HeapProperties
  /// Whose control group is charged for a buffer's memory.
  public enum Charging: Sendable {
    /// The service's, where the kernel charges anybody for a heap's memory; the service's quotas count it.
    case service
    /// This process's. It makes the memory, a memfd that it fills with zeros, and the service a dma-buf of it (AllocateVmoFrom): of
    /// single pages, by udmabuf. Allocations take until all pages are zeroed, also those that are `async`, and are held against what
    /// the machine and the control group have left (`Admission`). The service's quotas count the number of buffers alone.
    ///
    /// Requests for contiguous or secure memory, or for a heap by its node, are refused (`HeapError.Code.notSupported`), as all are by
    /// a service that may not open `/dev/udmabuf`.
    case client
  }

  private let charging: Charging
  private let heap: Connection
  private let observerPath: String
  private let observer: Guarded<Connection?>
  private let deadline: Duration?
  private let buffers: RemoteBuffers

  /// Connects, and waits for the service to tell the heap's properties.
  ///
  /// - Parameters:
  ///   - socket: Where `heapd --socket` serves.
  ///   - observerSocket: Nil for the same path and `.observer`.
  ///   - deadline: How long the service may take for each answer; nil for any time.
  ///   - charging: Who is charged for the memory of what is allocated.
  /// - Throws: `HeapError.Code.notFound` where nobody serves, `HeapError.Code.accessDenied` where this
  ///   user is not on the service's list, `HeapError.Code.notSupported` where the service is older than
  ///   this client, `HeapError.Code.wrongType` where a path is no socket of a service, `HeapError.Code.peerClosed` where
  ///   the connection is closed unanswered, `HeapError.Code.timedOut` at the deadline.
  public init(
    socket: String, observerSocket: String? = nil, deadline: Duration? = nil,
    charging: Charging = .service
  ) throws(HeapError) {
    let buffers = RemoteBuffers()
    let greeting = Guarded<HeapProperties?>(nil)
    let observer = Guarded<Connection?>(nil)
    let heap = try Connection(to: socket, timeout: deadline, isPatient: true) { ordinal, message in
      switch ordinal {
      case .onReclaimed:
        guard let event = try? OnReclaimedEvent(decoding: message, handleCount: 0) else { return }
        buffers.end(event.key)
      case .onRegister:
        let event = try? OnRegisterEvent(decoding: message, handleCount: 0)
        greeting.withLock { $0 = event?.properties }
      default: return
      }
    } onEnd: {
      buffers.abandonCleanup()
      // It may be one that nobody serves: a manager's, which waits for the next server.
      observer.withLock { $0?.hangUp() }
    }
    // The greeting comes first, whatever is asked.
    let reply = try heap.ask(WatchBuffersRequest(), Connection.connecting)
    switch reply.decode(as: WatchBuffersReply.self)?.result {
    case .success: break
    case .failure(let status), .frameworkError(let status):
      // Another protocol's, such as the observer's, has no greeting.
      if greeting.withLock({ $0 }) == nil, HeapError.Code(rawValue: status) == .notSupported {
        throw heap.error(
          .wrongType, Connection.connecting, cause: "it is no socket of a heap service",
          fix: Connection.otherPath)
      }
      throw heap.refusal(status, Connection.connecting)
    case nil: throw heap.malformed(Connection.connecting)
    }
    guard let properties = greeting.withLock({ $0 }) else {
      throw heap.malformed(Connection.connecting)
    }
    try heap.start()
    self.properties = properties
    self.heap = heap
    self.buffers = buffers
    self.observer = observer
    self.deadline = deadline
    self.charging = charging
    observerPath = observerSocket ?? socket + ".observer"
  }

  deinit {
    if let observer = observer.withLock({ $0.take() }) {
      observer.hangUp()
      observer.join()
    }
    // Clean-up actions are still run, and then nobody needs the connection.
    if buffers.whenIdle({ [weak heap] in heap?.hangUp() }) { return }
    heap.hangUp()
    heap.join()
  }

  public var liveBufferCount: Int { buffers.count }

  // MARK: Allocation

  public func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    let key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
    let operation = Self.allocation(size)
    let memory = try filledMemory(key, size, operation)
    let reply = try withExtendedLifetime(memory) { () throws(HeapError) in
      try heap.ask(passing: memory?.fd.rawValue, operation, encoder(key, size, settings))
    }
    return try vmo(of: reply, key, size, settings, cleanup)
  }

  /// Allocates as the call of the same name does, and blocks no thread until the service has answered.
  ///
  /// - Throws: What that call throws.
  public func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction] = []
  ) async throws(HeapError) -> VMO {
    let key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
    let operation = Self.allocation(size)
    let memory = try filledMemory(key, size, operation)
    let sent = try withExtendedLifetime(memory) { () throws(HeapError) in
      try heap.send(passing: memory?.fd.rawValue, operation, encoder(key, size, settings))
    }
    return try vmo(of: await heap.answer(to: sent, operation), key, size, settings, cleanup)
  }

  /// Writes the request that asks for it.
  private func encoder(
    _ key: BufferKey, _ size: UInt64, _ settings: SingleBufferSettings
  ) -> (UInt32, inout [UInt8]) throws(WireError) -> Void {
    { [charging] (transaction, message) throws(WireError) in
      let (collection, index) = (key.bufferCollectionID, key.bufferIndex)
      if charging == .service {
        let request = AllocateVmoRequest(
          size: size, settings: settings, bufferCollectionID: collection, bufferIndex: index)
        try request.encodeChecked(transactionID: transaction, into: &message)
      } else {
        let request = AllocateVmoFromRequest(
          size: size, settings: settings, bufferCollectionID: collection, bufferIndex: index)
        try request.encodeChecked(transactionID: transaction, into: &message)
      }
    }
  }

  /// Nil where the service makes it.
  private func filledMemory(
    _ key: BufferKey, _ size: UInt64, _ operation: String
  ) throws(HeapError) -> SharedFD? {
    if charging == .service { return nil }
    let size = try size.checkedAsVmoSize()
    let grant = try Admission.standard.admit(size, for: operation)
    let memory = try attempt(operation) { () throws(Errno) in
      let memory = SharedFD(try Memfd.create("\(key)", size: size))
      let zeros = [UInt8](repeating: 0, count: 1 << 16)
      var offset: UInt64 = 0
      while offset < size {
        let (number, count) = (memory.fd.rawValue, Int(min(size - offset, 1 << 16)))
        // Not by a mapping, which would take page tables, and a signal in place of an error.
        offset += UInt64(try call { unsafe pwrite(number, zeros, count, off_t(offset)) })
      }
      return memory
    }
    // The kernel's own figures tell from now on.
    _ = consume grant
    return memory
  }

  private static func allocation(_ size: UInt64) -> String { "allocate \(size.asByteCount)" }

  private func vmo(
    of reply: consuming ReceivedMessage, _ key: BufferKey, _ size: UInt64,
    _ settings: SingleBufferSettings, _ cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    switch result(in: reply) {
    case .vmo(let index):
      let vmo = try VMO(
        adopting: reply.takeHandle(index), isServed: true, isContiguous: settings.asksForContiguous)
      guard vmo.byteCount >= size else { throw heap.malformed(Self.allocation(size)) }
      buffers.insert(key, vmo.identity, cleanup)
      return vmo
    case .status(let status): throw heap.refusal(status, Self.allocation(size))
    case nil: throw heap.malformed(Self.allocation(size))
    }
  }

  private func result(in reply: borrowing ReceivedMessage) -> AllocateVmoResult? {
    if charging == .service { return reply.decode(as: AllocateVmoResult.self) }
    return switch reply.decode(as: AllocateVmoFromReply.self)?.result {
    case .success(let allocated): .vmo(allocated.vmo)
    case .failure(let status), .frameworkError(let status): .status(status)
    case nil: nil
    }
  }

  // MARK: Deletion

  public func deleteVmo(
    bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: consuming VMO
  ) async throws(HeapError) {
    let key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
    let own: RemoteBuffers.ID?
    switch buffers.beginDeletion(key, vmo.identity) {
    case .begun(let id): own = id
    case .refused(let code): throw refusal(code, key, vmo)
    case .unknown:
      // The service closes the connection of who passes a wrong handle, so it is asked before.
      let found = try await liveKey(of: vmo)
      guard found == key else { throw refusal(found == nil ? .notFound : .badHandle, key, vmo) }
      own = buffers.beginDeletion(key)
    }
    let notice = WaitingDeletion.notice(key, mapped: vmo.identity)
    defer { notice?.cancel() }
    let reply = try await heap.answer(to: send(key, vmo), Self.deletion(key))
    try check(reply, key)
    if let own { await buffers.cleanedUp(own) }
  }

  /// Deletes as the call of the same name does, and blocks its thread until all of the buffer is gone.
  ///
  /// - Throws: What that call throws.
  public func deleteVmo(
    bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: consuming VMO
  ) throws(HeapError) {
    let key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
    let own: RemoteBuffers.ID?
    switch buffers.beginDeletion(key, vmo.identity) {
    case .begun(let id): own = id
    case .refused(let code): throw refusal(code, key, vmo)
    case .unknown:
      // The service closes the connection of who passes a wrong handle, so it is asked before.
      let found = try liveKey(of: vmo)
      guard found == key else { throw refusal(found == nil ? .notFound : .badHandle, key, vmo) }
      own = buffers.beginDeletion(key)
    }
    let notice = WaitingDeletion.notice(key, mapped: vmo.identity)
    defer { notice?.cancel() }
    let reply = try heap.ask(
      DeleteVmoRequest(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex),
      giving: vmo, Self.deletion(key), onReply: end(key))
    try check(reply, key)
    if let own { buffers.cleanedUp(own) }
  }

  private static func deletion(_ key: BufferKey) -> String {
    "delete buffer \(key.bufferIndex) of collection \(key.bufferCollectionID)"
  }

  private func refusal(
    _ code: HeapError.Code, _ key: BufferKey, _ vmo: consuming VMO
  ) -> HeapError {
    heap.error(
      code, Self.deletion(key),
      cause: code == .notFound
        ? "this heap has no such buffer, or its deletion has begun"
        : "the vmo is another buffer's", fix: HeapError.deletionAdvice, returning: ReturnedVMO(vmo))
  }

  /// Nil where a vmo is of no live buffer of the service's.
  private func liveKey(of vmo: borrowing VMO) async throws(HeapError) -> BufferKey? {
    do throws(HeapError) { return try await info(of: vmo) } catch  where error.code == .notFound {
      return nil
    }
  }

  private func liveKey(of vmo: borrowing VMO) throws(HeapError) -> BufferKey? {
    do throws(HeapError) { return try info(of: vmo) } catch  where error.code == .notFound {
      return nil
    }
  }

  /// The vmo is closed here: its service waits for the last handle.
  private func send(_ key: BufferKey, _ vmo: consuming VMO) -> PendingReply {
    let request = DeleteVmoRequest(
      bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex)
    return vmo.withDescriptor { heap.send(request, passing: $0, onReply: end(key)) }
  }

  /// The reply stands for the event of a buffer that was allocated here.
  private func end(_ key: BufferKey) -> @Sendable () -> Void {
    let buffers = self.buffers
    return { buffers.end(key) }
  }

  private func check(_ reply: borrowing ReceivedMessage, _ key: BufferKey) throws(HeapError) {
    if reply.decode(as: DeleteVmoReply.self) == nil { throw heap.malformed(Self.deletion(key)) }
  }

  // MARK: The observer

  /// The observer's connection, made when it is needed and again where it has ended.
  private func connectedObserver() throws(HeapError) -> Connection {
    try observer.withLock { (observer) throws(HeapError) in
      // Under the lock: an end that comes later hangs up this connection.
      if let code = heap.end { throw heap.over(code, "ask the service's observer") }
      if let observer, observer.end == nil { return observer }
      let connection = try Connection(to: observerPath, timeout: deadline, isPatient: false)
      try connection.start()
      observer = connection
      return connection
    }
  }

  public func info(of vmo: borrowing VMO) throws(HeapError) -> BufferKey {
    let observer = try connectedObserver()
    let reply = try vmo.withDescriptor { number throws(HeapError) in
      try observer.ask(GetVmoInfoRequest(), passing: number, Self.asking)
    }
    return try Self.key(in: reply, from: observer)
  }

  /// Which buffer a handle belongs to, as the call of the same name tells; blocks no thread.
  ///
  /// - Throws: What that call throws.
  public func info(of vmo: borrowing VMO) async throws(HeapError) -> BufferKey {
    let observer = try connectedObserver()
    let sent = vmo.withDescriptor { observer.send(GetVmoInfoRequest(), passing: $0) }
    return try Self.key(in: await observer.answer(to: sent, Self.asking), from: observer)
  }

  private static let asking = "ask which buffer a vmo is of"

  private static func key(
    in reply: consuming ReceivedMessage, from observer: Connection
  ) throws(HeapError) -> BufferKey {
    switch reply.decode(as: GetVmoInfoReply.self)?.result {
    case .success(let key): return key
    case .failure(.notFound):
      throw observer.error(
        .notFound, asking,
        cause: "the vmo is of no live buffer of this heap, or its deletion has begun",
        fix: HeapError.deletionAdvice)
    case .failure(let error):
      throw observer.error(
        .internal, asking, cause: "the service answers sysmem error \(error.rawValue)")
    case .frameworkError(let status): throw observer.refusal(status, asking)
    case nil: throw observer.malformed(asking)
    }
  }

  public func attachLifetimeTracking(
    _ descriptor: consuming OwnedFD, bufferCollectionID: UInt64, buffersRemaining: UInt32
  ) throws(HeapError) {
    let operation = "watch collection \(bufferCollectionID)"
    let observer = try connectedObserver()
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
    let observer = try connectedObserver()
    var reply = try observer.ask(GetStatusRequest(), operation)
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
