import Glibc
import LinuxHeaps
import SystemPackage

extension SharedFD {
  /// A second descriptor as a vmo, e.g. for another process.
  func vmo() throws -> VMO { try VMO(adopting: fd.duplicate()) }

  /// A second descriptor of the same open file.
  func duplicate() throws -> SharedFD { SharedFD(try fd.duplicate()) }

  func write(_ bytes: [UInt8]) throws {
    let number = fd.rawValue
    let count = try call { unsafe pwrite(number, bytes, bytes.count, 0) }
    if count != bytes.count { throw Errno.ioError }
  }

  func read(_ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let number = fd.rawValue
    let length = try call { unsafe pread(number, &bytes, count, 0) }
    return Array(bytes.prefix(length))
  }

  /// Whether the other end of a socket or a pipe is closed, everywhere.
  func isHungUp(within milliseconds: CInt) -> Bool {
    var event = pollfd(fd: fd.rawValue, events: 0, revents: 0)
    return unsafe poll(&event, 1, milliseconds) == 1
  }
}
