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

  func acceptHeap() throws -> MessageSocket {
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
  func takeRequest() throws -> MessageHeader {
    guard let message = try receive() else { throw Errno.connectionReset }
    let bytes = message.bytes
    return try MessageHeader(decoding: unsafe bytes.span.bytes)
  }

  /// Answers AllocateVmo with a new memfd.
  func answerAllocation(_ request: MessageHeader) throws {
    var bytes: [UInt8] = []
    AllocateVmoResult.vmo(.first).encode(transactionID: request.transactionID, into: &bytes)
    let file = try Memfd.create("scripted", size: pageSize)
    try send(bytes, descriptors: [file.rawValue])
  }

  func answerDeletion(_ request: MessageHeader) throws {
    var bytes: [UInt8] = []
    DeleteVmoReply().encode(transactionID: request.transactionID, into: &bytes)
    try send(bytes)
  }

  /// Answers GetVmoInfo, as of any buffer.
  func answerInfo(_ request: MessageHeader) throws {
    var bytes: [UInt8] = []
    GetVmoInfoReply(.success(BufferKey(bufferCollectionID: 0, bufferIndex: 0))).encode(
      transactionID: request.transactionID, into: &bytes)
    try send(bytes)
  }

  func tellReclaimed(_ request: MessageHeader) throws {
    try answerWatch(request, .success(EmptyTable()))
  }

  func refuseToTell(_ request: MessageHeader) throws {
    try answerWatch(request, .failure(HeapError.Code.noResources.rawValue))
  }

  private func answerWatch(
    _ request: MessageHeader, _ result: FlexibleResult<EmptyTable, Int32>
  ) throws {
    var bytes: [UInt8] = []
    AwaitReclaimedReply(result).encode(transactionID: request.transactionID, into: &bytes)
    try send(bytes)
  }
}
