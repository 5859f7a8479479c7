internal import CHeapPeer
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Another process, which holds what it is given. It ends when this value does.
struct Peer: ~Copyable {
  private let socket: MessageSocket

  init() throws(Errno) {
    let nursery = try Nursery.shared.get()
    let pair = try MessageSocket.Pair()
    try nursery.makePeer(pair.far)
    socket = pair.near
  }

  /// Has it hold a descriptor.
  func hold(_ vmo: borrowing VMO) throws(Errno) {
    try socket.order(CHeapPeer_KEEP, descriptors: [vmo.withDescriptor { $0 }])
  }

  func closeDescriptor() throws(Errno) { try socket.order(CHeapPeer_CLOSE) }

  func map(offset: UInt64 = 0, byteCount: UInt64) throws(Errno) {
    try socket.order(CHeapPeer_MAP, offset: offset, length: byteCount)
  }

  /// `offset` counts from the mapping's start.
  func unmap(offset: UInt64 = 0, byteCount: UInt64) throws(Errno) {
    try socket.order(CHeapPeer_UNMAP, offset: offset, length: byteCount)
  }

  func read(at offset: UInt64) throws(Errno) -> UInt8 {
    UInt8(truncatingIfNeeded: try socket.order(CHeapPeer_READ, offset: offset))
  }

  func write(_ value: UInt8, at offset: UInt64) throws(Errno) {
    try socket.order(CHeapPeer_WRITE, value: value, offset: offset)
  }

  /// A child of the peer that inherits descriptor and mapping.
  func forkHolder() throws(Errno) { try socket.order(CHeapPeer_FORK_HOLDER) }

  func killHolder() throws(Errno) { try socket.order(CHeapPeer_KILL_HOLDER) }

  var process: pid_t { get throws(Errno) { pid_t(try socket.order(CHeapPeer_PID)) } }

  func kill() throws(Errno) { Glibc.kill(try process, SIGKILL) }
}
