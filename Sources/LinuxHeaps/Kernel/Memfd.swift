internal import CLinuxHeaps
internal import Glibc
package import SystemPackage

/// Makes memory files (memfd_create(2)).
package enum Memfd {
  /// A file of `size` bytes without pages, of which it cannot be robbed, with further `seals`.
  ///
  /// Sealed against more seals: a holder that sealed it against writing would lock the others out.
  package static func create(
    _ name: String, size: UInt64
  ) throws(Errno) -> OwnedFD {
    try create(name, size: size, seals: CLinuxHeaps_F_SEAL_SEAL)
  }

  static func create(_ name: String, size: UInt64, seals: CInt) throws(Errno) -> OwnedFD {
    let file = OwnedFD(
      adopting: try call {
        unsafe CLinuxHeaps_memfd_create(
          name, CLinuxHeaps_MFD_CLOEXEC | CLinuxHeaps_MFD_ALLOW_SEALING)
      })
    let number = file.rawValue
    _ = try call { ftruncate(number, off_t(size)) }
    let all = seals | CLinuxHeaps_F_SEAL_SHRINK | CLinuxHeaps_F_SEAL_GROW
    _ = try call { CLinuxHeaps_add_seals(number, all) }
    return file
  }
}
