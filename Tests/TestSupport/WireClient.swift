import CHeapWire
import Glibc
import HeapProtocol
package import LinuxHeaps
package import SystemPackage

/// A client that sends what it is told, well formed or not, and sees each message as it came.
package final class WireClient {
  private let socket: MessageSocket
  package private(set) var lastTransaction: UInt32 = 0

  /// Waits this long for a message; only a failure does.
  private static let patience = timeval(tv_sec: 60, tv_usec: 0)

  /// - Parameter user: Who connects, where that is not this process's user.
  package init(to path: String, as user: TestUser? = nil) throws {
    socket = try Self.make()
    let number = descriptor
    _ = unsafe try UnixAddress.use(path) { address, length in
      if let user { return unsafe user.connect(number, address, length) }
      return unsafe Glibc.connect(number, address, length)
    }.get()
  }

  private static func make() throws(Errno) -> MessageSocket {
    let descriptor = OwnedFD(
      adopting: try call {
        Glibc.socket(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0)
      })
    let number = descriptor.rawValue
    var patience = Self.patience
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      _ = try call {
        unsafe setsockopt(
          number, SOL_SOCKET, option, &patience, socklen_t(MemoryLayout<timeval>.size))
      }
    }
    return MessageSocket(adopting: descriptor)
  }

  /// One that has seen OnRegister.
  package static func heap(_ daemon: Daemon, as user: TestUser? = nil) throws -> WireClient {
    let client = try WireClient(to: daemon.socket, as: user)
    let first = try client.receive()
    guard first?.decode(OnRegisterEvent.self) != nil else {
      throw Unexpected("OnRegister", first)
    }
    return client
  }

  package static func observer(_ daemon: Daemon, as user: TestUser? = nil) throws -> WireClient {
    try WireClient(to: daemon.observer, as: user)
  }

  package var descriptor: CInt { socket.withDescriptor { $0 } }

  /// Whether a message can be sent without waiting, for a while.
  package var isWritable: Bool {
    var event = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return unsafe poll(&event, 1, 200) == 1 && event.revents & Int16(POLLOUT) != 0
  }

  /// What the next call on the socket would fail with; it is taken by that (`SO_ERROR`, socket(7)).
  package var pendingError: CInt {
    var error: CInt = 0
    var length = socklen_t(MemoryLayout<CInt>.size)
    let number = descriptor
    return unsafe getsockopt(number, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno
  }

  package func hangUp() { socket.hangUp() }

  // MARK: Messages

  /// A message of any bytes, with up to 253 descriptors (`SCM_MAX_FD`, unix(7)).
  package func send(_ bytes: [UInt8], _ descriptors: [CInt] = []) throws(Errno) {
    try Self.send(on: descriptor, bytes, descriptors)
  }

  package static func send(
    on socket: CInt, _ bytes: [UInt8], _ descriptors: [CInt]
  ) throws(Errno) {
    _ = try call {
      unsafe Wire_send_all(socket, bytes, bytes.count, descriptors, descriptors.count, 0) ? 0 : -1
    }
  }

  /// Sends the same message until the socket takes no more for a while: the server has stopped reading.
  /// Answers how many it took.
  package func sendWithoutReading(_ bytes: [UInt8], atMost limit: Int = .max) throws -> Int {
    var sent = 0
    var pauses = 0
    let number = descriptor
    while sent < limit {
      let length = unsafe Glibc.send(
        number, bytes, bytes.count, CInt(MSG_DONTWAIT | MSG_NOSIGNAL))
      if length < 0 {
        guard errno == EAGAIN else { throw Errno(rawValue: errno) }
        pauses += 1
        if pauses > 50 || limit < .max { break }
        usleep(2_000)
      } else {
        sent += 1
        pauses = 0
      }
    }
    return sent
  }

  /// Nil at the end.
  package func receive() throws -> Received? {
    guard let message = try socket.receive() else { return nil }
    return Received(message)
  }

  /// Whether a message, or the end, is there within this many milliseconds.
  package func hasNews(within milliseconds: CInt) -> Bool {
    var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&event, 1, milliseconds) == 1
  }

  /// The status of the server's last message; nothing but the end may follow. Nil where the next
  /// message is no epitaph.
  package func epitaph() throws -> HeapError.Code? {
    guard let last = try receive(), let epitaph = last.decode(Epitaph.self) else { return nil }
    if let more = try receive() { throw Unexpected("the end", more) }
    return HeapError.Code(rawValue: epitaph.status)
  }

  /// Sends a request and takes the next message for its answer.
  package func ask(
    _ handle: SharedFD? = nil, _ encode: (UInt32, inout [UInt8]) -> Void
  ) throws -> Received {
    let transaction = try request(handle, encode)
    guard let reply = try receive(), reply.header?.transactionID == transaction else {
      throw Unexpected("the answer to \(transaction)", nil)
    }
    return reply
  }

  /// Sends a request; answers its transaction's number.
  @discardableResult
  package func request(
    _ handle: SharedFD? = nil, _ encode: (UInt32, inout [UInt8]) -> Void
  ) throws -> UInt32 {
    lastTransaction += 1
    var bytes: [UInt8] = []
    encode(lastTransaction, &bytes)
    try send(bytes, handle.map { [$0.fd.rawValue] } ?? [])
    return lastTransaction
  }
}

// The protocols' own requests, well formed.
extension WireClient {
  /// The new buffer's vmo; throws ``Refusal``.
  package func allocate(
    _ index: UInt64 = 0, of collection: UInt64 = 7, size: UInt64 = pageSize,
    settings: SingleBufferSettings = SingleBufferSettings()
  ) throws -> SharedFD {
    let request = AllocateVmoRequest(
      size: size, settings: settings, bufferCollectionID: collection, bufferIndex: index)
    let reply = try ask { request.encode(transactionID: $0, into: &$1) }
    switch reply.decode(AllocateVmoResult.self) {
    case .vmo(let index): return reply.handles[index.rawValue]
    case .status(let status): throw Refusal(code: HeapError.Code(rawValue: status))
    case nil: throw Unexpected("AllocateVmo's answer", reply)
    }
  }

  /// The same of memory that the client brings.
  @discardableResult
  package func allocate(
    from memory: SharedFD, _ index: UInt64 = 0, of collection: UInt64 = 7,
    size: UInt64 = pageSize, settings: SingleBufferSettings = SingleBufferSettings()
  ) throws -> SharedFD {
    let request = AllocateVmoFromRequest(
      size: size, settings: settings, bufferCollectionID: collection, bufferIndex: index)
    let reply = try ask(memory) { request.encode(transactionID: $0, into: &$1) }
    switch reply.decode(AllocateVmoFromReply.self)?.result {
    case .success(let allocated): return reply.handles[allocated.vmo.rawValue]
    case .failure(let status): throw Refusal(code: HeapError.Code(rawValue: status))
    default: throw Unexpected("AllocateVmoFrom's answer", reply)
    }
  }

  /// The status of a refused allocation; nil where it was served. The new buffer is deleted.
  package func refusal(
    _ index: UInt64 = 0, of collection: UInt64 = 7, size: UInt64 = pageSize
  ) throws -> HeapError.Code? {
    do {
      // The answer waits for this process's handle too, which is closed after this line.
      try sendDelete(index, of: collection, allocate(index, of: collection, size: size))
      try receiveDeleted(lastTransaction)
      return nil
    } catch let refusal as Refusal {
      return refusal.code
    }
  }

  /// Passes a handle back; the caller's own stays open as long as `handle` does.
  @discardableResult
  package func sendDelete(_ index: UInt64 = 0, of collection: UInt64 = 7, _ handle: SharedFD) throws
    -> UInt32
  {
    let request = DeleteVmoRequest(bufferCollectionID: collection, bufferIndex: index)
    return try self.request(handle) { request.encode(transactionID: $0, into: &$1) }
  }

  /// Gives a buffer back: the last handle to it is the message's.
  package func delete(_ index: UInt64 = 0, of collection: UInt64 = 7, _ handle: inout SharedFD?)
    throws
  {
    try sendDelete(index, of: collection, handle!)
    handle = nil
    try receiveDeleted(lastTransaction)
  }

  /// Waits for the fence.
  package func receiveDeleted(_ transaction: UInt32) throws {
    let reply = try receive()
    guard reply?.decode(DeleteVmoReply.self) != nil,
      reply?.header?.transactionID == transaction
    else { throw Unexpected("DeleteVmo's answer to \(transaction)", reply) }
  }

  /// Has the server tell of buffers' ends.
  package func watchBuffers() throws {
    let reply = try ask { WatchBuffersRequest().encode(transactionID: $0, into: &$1) }
    guard case .success = reply.decode(WatchBuffersReply.self)?.result else {
      throw Unexpected("WatchBuffers' answer", reply)
    }
  }

  /// Waits for the event of a buffer's end.
  package func receiveReclaimed() throws -> BufferKey {
    let message = try receive()
    guard let event = message?.decode(OnReclaimedEvent.self), message?.header?.transactionID == 0
    else { throw Unexpected("OnReclaimed", message) }
    return event.key
  }

  /// The key of the buffer that a handle is of; nil where there is none.
  package func info(_ handle: SharedFD) throws -> BufferKey? {
    let reply = try ask(handle) { GetVmoInfoRequest().encode(transactionID: $0, into: &$1) }
    switch reply.decode(GetVmoInfoReply.self)?.result {
    case .success(let info): return info
    case .failure(.notFound): return nil
    default: throw Unexpected("GetVmoInfo's answer", reply)
    }
  }

  package func attach(_ serverEnd: SharedFD, to collection: UInt64, remaining: UInt32) throws {
    let request = AttachLifetimeTrackingRequest(
      buffersRemaining: remaining, bufferCollectionID: collection)
    let reply = try ask(serverEnd) { request.encode(transactionID: $0, into: &$1) }
    switch reply.decode(AttachLifetimeTrackingReply.self)?.result {
    case .success: return
    case .failure(let status): throw Refusal(code: HeapError.Code(rawValue: status))
    default: throw Unexpected("AttachLifetimeTracking's answer", reply)
    }
  }

  @discardableResult
  package func sendAwait(_ handle: SharedFD) throws -> UInt32 {
    try request(handle) { AwaitReclaimedRequest().encode(transactionID: $0, into: &$1) }
  }

  /// The status of a refused AwaitReclaimed; nil where it is answered by success.
  package func awaitRefusal(_ handle: SharedFD) throws -> HeapError.Code? {
    let reply = try ask(handle) { AwaitReclaimedRequest().encode(transactionID: $0, into: &$1) }
    switch reply.decode(AwaitReclaimedReply.self)?.result {
    case .success: return nil
    case .failure(let status): return HeapError.Code(rawValue: status)
    default: throw Unexpected("AwaitReclaimed's answer", reply)
    }
  }

  package func receiveReclaimed(_ transaction: UInt32) throws {
    let reply = try receive()
    guard case .success = reply?.decode(AwaitReclaimedReply.self)?.result,
      reply?.header?.transactionID == transaction
    else { throw Unexpected("AwaitReclaimed's answer to \(transaction)", reply) }
  }
}

/// A request's refusal, by its status.
package struct Refusal: Error, Equatable {
  package let code: HeapError.Code

  package init(code: HeapError.Code) { self.code = code }
}

/// What a server did in place of what was expected.
package struct Unexpected: Error, CustomStringConvertible {
  package let description: String

  package init(_ expected: String, _ message: Received?) {
    let came = message.map { "\($0.bytes.count) bytes: \($0.bytes.hex.prefix(64))" } ?? "nothing"
    description = "expected \(expected), got \(came)"
  }
}
