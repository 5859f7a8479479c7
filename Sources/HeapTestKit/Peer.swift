internal import CHeapPeer
internal import CLibrary
package import LinuxHeaps
internal import SystemPackage

/// Another process, which holds what it is given. It ends when this value does.
struct Peer: ~Copyable {
  private let socket: MessageSocket

  init() throws(HeapError) {
    let nursery = try Nursery.shared.get()
    let pair = try MessageSocket.Pair()
    try nursery.makePeer(pair.far)
    socket = pair.keepingNear()
  }

  /// Has it hold a descriptor, in one of `CHeapPeer_SLOTS` places.
  func hold(_ vmo: borrowing VMO, in slot: UInt16 = 0) throws(HeapError) {
    try socket.order(CHeapPeer_KEEP, slot: slot, descriptors: [vmo.withDescriptor { $0 }])
  }

  func closeDescriptor(in slot: UInt16 = 0) throws(HeapError) {
    try socket.order(CHeapPeer_CLOSE, slot: slot)
  }

  func map(in slot: UInt16 = 0, offset: UInt64 = 0, byteCount: UInt64) throws(HeapError) {
    try socket.order(CHeapPeer_MAP, slot: slot, offset: offset, length: byteCount)
  }

  /// `offset` counts from the mapping's start.
  func unmap(in slot: UInt16 = 0, offset: UInt64 = 0, byteCount: UInt64) throws(HeapError) {
    try socket.order(CHeapPeer_UNMAP, slot: slot, offset: offset, length: byteCount)
  }

  func read(in slot: UInt16 = 0, at offset: UInt64) throws(HeapError) -> UInt8 {
    UInt8(truncatingIfNeeded: try socket.order(CHeapPeer_READ, slot: slot, offset: offset))
  }

  func write(_ value: UInt8, in slot: UInt16 = 0, at offset: UInt64) throws(HeapError) {
    try socket.order(CHeapPeer_WRITE, slot: slot, value: value, offset: offset)
  }

  /// A child of the peer that inherits descriptor and mapping.
  func forkHolder() throws(HeapError) { try socket.order(CHeapPeer_FORK_HOLDER) }

  func killHolder() throws(HeapError) { try socket.order(CHeapPeer_KILL_HOLDER) }

  var process: pid_t { get throws(HeapError) { pid_t(try socket.order(CHeapPeer_PID)) } }

  func kill() throws(HeapError) { CLibrary.kill(try process, SIGKILL) }
}

/// The process that forks peers. It is started once, before any buffer could be inherited, and ends
/// with this one.
final class Nursery: Sendable {
  static let shared: Result<Nursery, HeapError> = {
    do throws(HeapError) { return .success(try Nursery()) } catch { return .failure(error) }
  }()

  private let socket: MessageSocket

  private init() throws(HeapError) {
    let pair = try MessageSocket.Pair()
    var process = pid_t()
    let error = pair.far.withDescriptor { unsafe CHeapPeer_start_nursery($0, &process) }
    if error != 0 { throw HeapError(Errno(rawValue: error), "start another process") }
    socket = pair.keepingNear()
  }

  /// Checks run one at a time, so orders do too.
  func makePeer(_ far: borrowing MessageSocket) throws(HeapError) {
    let descriptor = far.withDescriptor { $0 }
    try socket.order(CHeapPeer_FORK_PEER, descriptors: [descriptor])
  }
}

extension MessageSocket.Pair {
  /// Gives the far end away and keeps the near one.
  package consuming func give(
    far body: (consuming OwnedFD) throws(HeapError) -> Void
  ) throws(HeapError) -> MessageSocket {
    try body(far.release())
    return near
  }
}

extension MessageSocket {
  /// Sends an order and waits for its answer.
  // Not in each order: it would make every program larger.
  @inline(never) @discardableResult
  func order(
    _ verb: some BinaryInteger, slot: UInt16 = 0, value: UInt8 = 0, offset: UInt64 = 0,
    length: UInt64 = 0, descriptors: [CInt] = []
  ) throws(HeapError) -> UInt32 {
    let order = CHeapPeer_order(
      verb: UInt32(verb), slot: slot, value: UInt16(value), offset: offset, length: length)
    try send(unsafe withUnsafeBytes(of: order) { unsafe [UInt8]($0) }, descriptors: descriptors)
    let operation = "ask another process"
    guard let message = try receive(), message.bytes.count == MemoryLayout<CHeapPeer_reply>.size
    else { throw HeapError(.peerClosed, operation, cause: "it has ended") }
    let reply = unsafe message.bytes.withUnsafeBytes {
      unsafe $0.loadUnaligned(as: CHeapPeer_reply.self)
    }
    if reply.error != 0 { throw HeapError(Errno(rawValue: reply.error), operation) }
    return reply.value
  }
}
