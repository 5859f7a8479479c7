import Glibc
import LinuxHeaps
import SystemPackage
import TestSupport

/// A file whose last close waits until this value ends, as one of a hung network or of a file system in
/// user space would: a TCP connection with unsent data that lingers (`SO_LINGER`, socket(7)).
final class SlowFile {
  /// To be sent, and closed here at once: who closes last is the one who waits.
  var file: SharedFD?
  private var reader: OwnedFD?

  /// It needs a loopback device that is up.
  static var isPossible: Bool { (try? SlowFile()) != nil }

  init() throws(Errno) {
    let listener = try Self.socket()
    let address = try Self.listen(listener)
    let writer = try Self.socket()
    let (number, socket) = (listener.rawValue, writer.rawValue)
    try unsafe Self.withAddress(address) { unsafe Glibc.connect(socket, $0, $1) }
    reader = OwnedFD(adopting: try call { accept(number, nil, nil) })
    try Self.fill(writer)
    var option = linger(l_onoff: 1, l_linger: 300)
    _ = try call {
      unsafe setsockopt(
        socket, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }
    file = SharedFD(writer)
  }

  /// Its last close returns.
  func release() { reader = nil }

  // Before the file, which this process may be the last to close.
  deinit { reader = nil }

  private static func socket() throws(Errno) -> OwnedFD {
    OwnedFD(
      adopting: try call {
        Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      })
  }

  private static func listen(_ socket: borrowing OwnedFD) throws(Errno) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let number = socket.rawValue
    try unsafe withAddress(address) { unsafe bind(number, $0, $1) }
    _ = try call { Glibc.listen(number, 1) }
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = try call {
      unsafe withUnsafeMutablePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          unsafe getsockname(number, $0, &length)
        }
      }
    }
    return address
  }

  private static func withAddress(
    _ address: sockaddr_in, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
  ) throws(Errno) {
    var address = address
    _ = try call {
      unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          unsafe body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
    }
  }

  /// Until it takes no more.
  private static func fill(_ socket: borrowing OwnedFD) throws(Errno) {
    let bytes = [UInt8](repeating: 0, count: 1 << 16)
    let number = socket.rawValue
    do throws(Errno) {
      while true {
        _ = try call { unsafe Glibc.send(number, bytes, bytes.count, CInt(MSG_DONTWAIT)) }
      }
    } catch .resourceTemporarilyUnavailable {}
  }
}
