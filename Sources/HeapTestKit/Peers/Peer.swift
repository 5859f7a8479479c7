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

  /// Has it hold a descriptor, in one of `CHeapPeer_SLOTS` places.
  func hold(_ vmo: borrowing VMO, in slot: UInt16 = 0) throws(Errno) {
    try socket.order(CHeapPeer_KEEP, slot: slot, descriptors: [vmo.withDescriptor { $0 }])
  }

  func closeDescriptor(in slot: UInt16 = 0) throws(Errno) {
    try socket.order(CHeapPeer_CLOSE, slot: slot)
  }

  func map(in slot: UInt16 = 0, offset: UInt64 = 0, byteCount: UInt64) throws(Errno) {
    try socket.order(CHeapPeer_MAP, slot: slot, offset: offset, length: byteCount)
  }

  /// `offset` counts from the mapping's start.
  func unmap(in slot: UInt16 = 0, offset: UInt64 = 0, byteCount: UInt64) throws(Errno) {
    try socket.order(CHeapPeer_UNMAP, slot: slot, offset: offset, length: byteCount)
  }

  func read(in slot: UInt16 = 0, at offset: UInt64) throws(Errno) -> UInt8 {
    UInt8(truncatingIfNeeded: try socket.order(CHeapPeer_READ, slot: slot, offset: offset))
  }

  func write(_ value: UInt8, in slot: UInt16 = 0, at offset: UInt64) throws(Errno) {
    try socket.order(CHeapPeer_WRITE, slot: slot, value: value, offset: offset)
  }

  /// A child of the peer that inherits descriptor and mapping.
  func forkHolder() throws(Errno) { try socket.order(CHeapPeer_FORK_HOLDER) }

  func killHolder() throws(Errno) { try socket.order(CHeapPeer_KILL_HOLDER) }

  var process: pid_t { get throws(Errno) { pid_t(try socket.order(CHeapPeer_PID)) } }

  func kill() throws(Errno) { Glibc.kill(try process, SIGKILL) }
}
