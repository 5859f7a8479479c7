internal import CLinuxHeaps
internal import LinuxHeaps
internal import SystemPackage

/// One message with at most one handle, which is all that a server sends.
enum SeqPacket {
  /// 0 where the peer has read all that was sent.
  static func unread(_ socket: CInt) -> CInt { CLinuxHeaps_unread(socket) }

  static func send(_ socket: CInt, _ bytes: [UInt8], _ handle: CInt?) throws(Errno) {
    var handle = handle ?? -1
    _ = try call {
      unsafe bytes.withUnsafeBytes { bytes in
        unsafe CLinuxHeaps_send(
          socket, bytes.baseAddress!, bytes.count, &handle, handle < 0 ? 0 : 1)
      }
    }
  }
}
