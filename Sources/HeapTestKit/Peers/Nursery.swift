internal import CHeapPeer
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// The process that forks peers. It is started once, before any buffer could be inherited, and ends
/// with this one.
final class Nursery: Sendable {
  static let shared: Result<Nursery, Errno> = {
    do throws(Errno) { return .success(try Nursery()) } catch { return .failure(error) }
  }()

  private let socket: MessageSocket

  private init() throws(Errno) {
    let pair = try MessageSocket.Pair()
    var process = pid_t()
    let error = pair.far.withDescriptor { unsafe CHeapPeer_start_nursery($0, &process) }
    if error != 0 { throw Errno(rawValue: error) }
    socket = pair.near
  }

  /// Checks run one at a time, so orders do too.
  func makePeer(_ far: borrowing MessageSocket) throws(Errno) {
    let descriptor = far.withDescriptor { $0 }
    try socket.order(CHeapPeer_FORK_PEER, descriptors: [descriptor])
  }
}

extension MessageSocket {
  /// Sends an order and waits for its answer.
  @discardableResult
  func order(
    _ verb: some BinaryInteger, slot: UInt16 = 0, value: UInt8 = 0, offset: UInt64 = 0,
    length: UInt64 = 0, descriptors: [CInt] = []
  ) throws(Errno) -> UInt32 {
    let order = CHeapPeer_order(
      verb: UInt32(verb), slot: slot, value: UInt16(value), offset: offset, length: length)
    try send(unsafe withUnsafeBytes(of: order) { unsafe [UInt8]($0) }, descriptors: descriptors)
    guard let message = try receive(), message.bytes.count == MemoryLayout<CHeapPeer_reply>.size
    else { throw .connectionReset }
    let reply = unsafe message.bytes.withUnsafeBytes {
      unsafe $0.loadUnaligned(as: CHeapPeer_reply.self)
    }
    if reply.error != 0 { throw Errno(rawValue: reply.error) }
    return reply.value
  }
}
