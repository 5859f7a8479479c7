import CLinuxHeaps
import Glibc
package import LinuxHeaps
package import SystemPackage

/// Files that are no vmos.
package enum OddFile {
  /// `O_PATH` (open(2)), hidden behind `_GNU_SOURCE`: the same on all of Linux's usual machines.
  package static let pathOnly: CInt = 0o10_000_000

  package static func duplicate(_ descriptor: CInt) throws(Errno) -> OwnedFD {
    OwnedFD(adopting: try call { fcntl(descriptor, F_DUPFD_CLOEXEC, 0) })
  }

  package static func open(_ path: String, _ flags: CInt) throws(Errno) -> SharedFD {
    SharedFD(try .open(path, flags))
  }

  package static func pipe() throws(Errno) -> (read: SharedFD, write: SharedFD) {
    var numbers: [CInt] = [-1, -1]
    _ = try call { unsafe Glibc.pipe(&numbers) }
    return (SharedFD(OwnedFD(adopting: numbers[0])), SharedFD(OwnedFD(adopting: numbers[1])))
  }

  package static func socketPair() throws(Errno) -> (near: SharedFD, far: SharedFD) {
    var numbers: [CInt] = [-1, -1]
    _ = try call {
      unsafe socketpair(
        AF_UNIX, CInt(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0, &numbers)
    }
    return (SharedFD(OwnedFD(adopting: numbers[0])), SharedFD(OwnedFD(adopting: numbers[1])))
  }

  package static func unixSocket() throws(Errno) -> SharedFD { try socketPair().near }

  package static func epoll() throws(Errno) -> SharedFD {
    SharedFD(OwnedFD(adopting: try call { epoll_create1(CInt(EPOLL_CLOEXEC)) }))
  }

  package static func memfd(size: UInt64 = pageSize) throws(Errno) -> SharedFD {
    SharedFD(try Memfd.create("odd", size: size))
  }
}
