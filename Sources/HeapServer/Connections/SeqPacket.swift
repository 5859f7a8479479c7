internal import CLinuxHeaps
internal import LinuxHeaps
internal import SystemPackage

/// One message with at most one handle, which is all that a server sends.
enum SeqPacket {
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
