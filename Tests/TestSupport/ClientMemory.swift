import CLinuxHeaps
import Glibc
package import LinuxHeaps
package import SystemPackage

/// Memfds as a client brings them, or could.
package enum ClientMemory {
  package static let seals =
    CLinuxHeaps_F_SEAL_SHRINK | CLinuxHeaps_F_SEAL_GROW | CLinuxHeaps_F_SEAL_SEAL

  /// - Parameters:
  ///   - fill: Makes its pages be there.
  ///   - flags: Besides those of any, of memfd_create(2).
  package static func make(
    size: UInt64 = pageSize, seals: CInt = seals, flags: UInt32 = 0,
    fill: (CInt, UInt64) throws(Errno) -> Void = write
  ) throws(Errno) -> SharedFD {
    let file = SharedFD(
      OwnedFD(
        adopting: try call {
          unsafe CLinuxHeaps_memfd_create(
            "brought", CLinuxHeaps_MFD_CLOEXEC | CLinuxHeaps_MFD_ALLOW_SEALING | flags)
        }))
    let number = file.fd.rawValue
    _ = try call { ftruncate(number, off_t(size)) }
    try fill(number, size)
    if seals != 0 { _ = try call { CLinuxHeaps_add_seals(number, seals) } }
    return file
  }

  package static func write(_ file: CInt, _ size: UInt64) throws(Errno) {
    let zeros = [UInt8](repeating: 0, count: Int(size))
    _ = try call { unsafe pwrite(file, zeros, zeros.count, 0) }
  }

  /// All pages are there, and nobody has written to them.
  package static func allocate(_ file: CInt, _ size: UInt64) throws(Errno) {
    let error = posix_fallocate(file, 0, off_t(size))
    if error != 0 { throw Errno(rawValue: error) }
  }

  package static func punch(_ file: CInt, _ size: UInt64) throws(Errno) {
    _ = try call { CLinuxHeaps_punch_hole(file, size) }
  }

  /// Bytes of the pages that the file has.
  package static func present(_ file: SharedFD) throws(Errno) -> UInt64 {
    UInt64(try file.fd.status().st_blocks) * 512
  }
}
