package import SystemPackage

/// The figures of `/proc/meminfo` (proc(5)) that admission needs, in bytes.
package struct MachineMemory: Sendable {
  package var total: UInt64
  /// What can be had without swapping.
  package var available: UInt64
  /// The free pages of contiguous regions; they are part of `available`, yet only movable pages may
  /// use them.
  package var contiguousFree: UInt64
  /// All contiguous regions together.
  package var contiguousTotal: UInt64

  func available(movable: Bool) -> UInt64 {
    movable ? available : available - min(available, contiguousFree)
  }

  package static let file = "/proc/meminfo"

  package static func read(_ file: String = file) throws(Errno) -> MachineMemory {
    MachineMemory(parsing: try SmallFile.read(file))
  }

  package init(parsing text: String) {
    var figures: [Substring: UInt64] = [:]
    for line in text.split(separator: "\n") {
      guard let colon = line.firstIndex(of: ":") else { continue }
      let digits = line[line.index(after: colon)...].drop { $0 == " " }.prefix { $0.isNumber }
      // "MemTotal:  24576 kB": the unit is 1024 bytes.
      figures[line[..<colon]] = UInt64(digits).map { $0 << 10 }
    }
    total = figures["MemTotal"] ?? 0
    available = figures["MemAvailable"] ?? figures["MemFree"] ?? 0
    contiguousFree = figures["CmaFree"] ?? 0
    contiguousTotal = figures["CmaTotal"] ?? 0
  }
}

/// A region of the contiguous memory allocator, by the name under `/sys/kernel/mm/cma`.
struct CMARegion: Equatable, Sendable {
  var name: String
  /// Bytes.
  var total: UInt64
  /// Bytes that no driver holds, nil where the kernel does not tell (before 7.0). They need not lie
  /// together.
  var available: UInt64?

  /// Nil where the kernel tells no sizes (before 7.0).
  static func read(_ name: String, in directory: String) -> CMARegion? {
    guard let total = SmallFile.number("\(directory)/\(name)/total_pages") else { return nil }
    let available = SmallFile.number("\(directory)/\(name)/available_pages")
    return CMARegion(
      name: name, total: total * pageSize, available: available.map { $0 * pageSize })
  }
}
