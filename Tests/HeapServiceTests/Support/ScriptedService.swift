import Glibc
import HeapProtocol
import LinuxHeaps
import SystemPackage
import TestSupport

/// The other end of one `RemoteHeap`, which says what a test has it say: for moments of a server's end
/// that a real one hits once in a thousand.
final class ScriptedService {
  let path: String
  private let folder: TemporaryFolder
  private let heapListener: OwnedFD
  private let observerListener: OwnedFD

  init() throws {
    folder = try TemporaryFolder()
    path = folder.path + "/scripted.sock"
    heapListener = try Self.listen(path)
    observerListener = try Self.listen(path + ".observer")
  }

  private static func listen(_ path: String) throws -> OwnedFD {
    let socket = try SocketFile.bound(path, SOCK_SEQPACKET)
    let number = socket.rawValue
    _ = try call { Glibc.listen(number, 4) }
    return socket
  }

  /// A client's socket, once the client is told the heap's properties and that it will be told of ends.
  func acceptHeap() throws -> MessageSocket {
    let socket = try greet()
    var bytes: [UInt8] = []
    WatchBuffersReply(.success(EmptyTable())).encode(
      transactionID: try socket.takeRequest(.watchBuffers).transactionID, into: &bytes)
    try socket.send(bytes)
    return socket
  }

  func greet() throws -> MessageSocket {
    let socket = try Self.accept(heapListener)
    var bytes: [UInt8] = []
    let properties = HeapProperties(
      coherencyDomainSupport: CoherencyDomainSupport(
        cpuSupported: true, ramSupported: true, inaccessibleSupported: false))
    OnRegisterEvent(properties: properties).encode(into: &bytes)
    try socket.send(bytes)
    return socket
  }

  func acceptObserver() throws -> MessageSocket { try Self.accept(observerListener) }

  /// Whether a client has connected to the observer, and was not accepted.
  var hasObserver: Bool {
    var event = pollfd(fd: observerListener.rawValue, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&event, 1, 0) == 1
  }

  private static func accept(_ listener: borrowing OwnedFD) throws -> MessageSocket {
    let number = listener.rawValue
    let socket = OwnedFD(adopting: try call { Glibc.accept(number, nil, nil) })
    _ = fcntl(socket.rawValue, F_SETFD, FD_CLOEXEC)
    return MessageSocket(adopting: socket)
  }
}

extension MessageSocket {
  /// Waits for a request, without taking it.
  func waitForRequest() {
    withDescriptor { number in
      var event = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
      _ = unsafe poll(&event, 1, -1)
    }
  }

  /// Takes a request; what came with it is closed.
  func takeRequest(_ ordinal: MessageOrdinal? = nil) throws -> MessageHeader {
    guard let message = try receive() else { throw Errno.connectionReset }
    let bytes = message.bytes
    let header = try MessageHeader(decoding: unsafe bytes.span.bytes)
    if let ordinal, header.ordinal != ordinal { throw Unexpected("\(ordinal)", nil) }
    return header
  }

  /// Whether a request is there.
  var hasRequest: Bool {
    withDescriptor { number in
      var event = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
      return unsafe poll(&event, 1, 0) == 1
    }
  }

  /// Answers AllocateVmo with a new memfd.
  func answerAllocation(_ request: MessageHeader) throws {
    let file = try Memfd.create("scripted", size: pageSize)
    try answerAllocation(request, passing: file)
  }

  func answerAllocation(_ request: MessageHeader, passing handle: borrowing OwnedFD) throws {
    var bytes: [UInt8] = []
    AllocateVmoResult.vmo(.first).encode(transactionID: request.transactionID, into: &bytes)
    try send(bytes, descriptors: [handle.rawValue])
  }

  func refuse(_ request: MessageHeader, _ status: HeapError.Code) throws {
    var bytes: [UInt8] = []
    AllocateVmoResult.status(status.rawValue).encode(
      transactionID: request.transactionID, into: &bytes)
    try send(bytes)
  }

  func answerDeletion(_ request: MessageHeader) throws {
    var bytes: [UInt8] = []
    DeleteVmoReply().encode(transactionID: request.transactionID, into: &bytes)
    try send(bytes)
  }

  /// Answers GetVmoInfo.
  func answerInfo(_ request: MessageHeader, _ key: BufferKey) throws {
    var bytes: [UInt8] = []
    GetVmoInfoReply(.success(key)).encode(transactionID: request.transactionID, into: &bytes)
    try send(bytes)
  }

  func tellReclaimed(_ key: BufferKey) throws {
    var bytes: [UInt8] = []
    OnReclaimedEvent(key: key).encode(into: &bytes)
    try send(bytes)
  }

  /// An event that no client knows.
  func tellNews() throws {
    var bytes: [UInt8] = []
    OnReclaimedEvent(key: BufferKey(bufferCollectionID: 1, bufferIndex: 1)).encode(into: &bytes)
    bytes[8] ^= 1
    try send(bytes)
  }

  func end(_ status: HeapError.Code) throws {
    var bytes: [UInt8] = []
    Epitaph(status: status.rawValue).encode(into: &bytes)
    try send(bytes)
  }
}
