import CHeapWire
package import Glibc
package import LinuxHeaps
package import SystemPackage

/// Sockets that everybody may reach by a path.
package enum SocketFile {
  package static func bound(_ path: String, _ type: __socket_type) throws(Errno) -> OwnedFD {
    let socket = OwnedFD(adopting: try call { unsafe Wire_bind(path, CInt(type.rawValue)) })
    _ = try call { unsafe chmod(path, 0o777) }
    return socket
  }

  package static func connected(_ path: String, _ type: __socket_type) throws(Errno) -> OwnedFD {
    OwnedFD(adopting: try call { unsafe Wire_connect(path, CInt(type.rawValue), 0) })
  }
}
