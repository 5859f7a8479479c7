internal import Glibc
internal import SystemPackage

/// A region of the contiguous memory allocator, by the name under `/sys/kernel/mm/cma`.
struct CMARegion: Equatable, Sendable {
  var name: String
  /// Bytes.
  var total: UInt64
  /// Bytes that no driver holds, nil where the kernel does not tell (before 7.0). They need not lie
  /// together.
  var available: UInt64?

  /// The regions of this machine; sizes are known from Linux 7.0 on.
  static func names(in directory: String) -> Set<String> {
    Set((try? SmallFile.entries(of: directory)) ?? [])
  }

  /// Nil where the kernel tells no sizes.
  static func read(_ name: String, in directory: String) -> CMARegion? {
    guard let total = SmallFile.number("\(directory)/\(name)/total_pages") else { return nil }
    let available = SmallFile.number("\(directory)/\(name)/available_pages")
    return CMARegion(
      name: name, total: total * pageSize, available: available.map { $0 * pageSize })
  }
}
