internal import CLinuxHeaps
internal import Glibc
package import SystemPackage

/// Makes memory files (memfd_create(2)).
package enum Memfd {
  /// A file of `size` bytes without pages, sealed against shrinking and growing.
  ///
  /// Sealed against more seals as well: a holder that sealed it against writing would lock the others out.
  ///
  /// - Parameter isOpaque: Sealed against writing too.
  package static func create(
    _ name: String, size: UInt64, isOpaque: Bool = false
  ) throws(Errno) -> OwnedFD {
    let file = OwnedFD(
      adopting: try call {
        unsafe name.withCString {
          unsafe CLinuxHeaps_memfd_create(
            $0, CLinuxHeaps_MFD_CLOEXEC | CLinuxHeaps_MFD_ALLOW_SEALING)
        }
      })
    let number = file.rawValue
    _ = try call { ftruncate(number, off_t(size)) }
    var seals = CLinuxHeaps_F_SEAL_SHRINK | CLinuxHeaps_F_SEAL_GROW | CLinuxHeaps_F_SEAL_SEAL
    if isOpaque { seals |= CLinuxHeaps_F_SEAL_WRITE | CLinuxHeaps_F_SEAL_FUTURE_WRITE }
    _ = try call { CLinuxHeaps_add_seals(number, seals) }
    return file
  }

  /// The name in the link of a descriptor or mapping, "/memfd:NAME (deleted)" (proc(5)); nil for a link to
  /// another file.
  package static func name(link: String) -> String? {
    guard link.hasPrefix("/memfd:"), link.hasSuffix(" (deleted)") else { return nil }
    return String(link.dropFirst(7).dropLast(10))
  }
}
