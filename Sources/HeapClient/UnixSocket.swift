internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

enum UnixSocket {
  /// A connection that keeps messages whole (unix(7), `SOCK_SEQPACKET`).
  static func connect(_ path: String) throws(Errno) -> MessageSocket {
    let socket = OwnedFD(
      adopting: try call {
        Glibc.socket(AF_UNIX, CInt(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0)
      })
    let number = socket.rawValue
    _ = unsafe try UnixAddress.use(path) { address, length in
      unsafe Glibc.connect(number, address, length)
    }.get()
    return MessageSocket(adopting: socket)
  }
}
