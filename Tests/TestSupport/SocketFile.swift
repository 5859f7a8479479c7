package import Glibc
package import LinuxHeaps
package import SystemPackage

/// Sockets that everybody may reach by a path.
package enum SocketFile {
  package static func bound(_ path: String, _ type: __socket_type) throws(Errno) -> OwnedFD {
    let socket = try make(type)
    let number = socket.rawValue
    _ = unsafe try UnixAddress.use(path) { address, length in
      unsafe bind(number, address, length)
    }.get()
    _ = try call { unsafe chmod(path, 0o777) }
    return socket
  }

  package static func connected(_ path: String, _ type: __socket_type) throws(Errno) -> OwnedFD {
    let socket = try make(type)
    let number = socket.rawValue
    _ = unsafe try UnixAddress.use(path) { address, length in
      unsafe connect(number, address, length)
    }.get()
    return socket
  }

  private static func make(_ type: __socket_type) throws(Errno) -> OwnedFD {
    OwnedFD(
      adopting: try call { socket(AF_UNIX, CInt(type.rawValue | SOCK_CLOEXEC.rawValue), 0) })
  }
}
