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

  /// By a scan of the bytes, because admission reads it often.
  package init(parsing text: String) {
    (total, available, contiguousFree, contiguousTotal) = (0, 0, 0, 0)
    var knowsAvailable = false
    for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
      // "MemTotal:  24576 kB": the unit is 1024 bytes.
      func bytes(_ name: String) -> UInt64? {
        guard line.starts(with: name.utf8) else { return nil }
        let digits = line.dropFirst(name.utf8.count).drop { $0 == UInt8(ascii: " ") }.prefix(15)
        return digits.prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
          .reduce(0) { $0 * 10 + UInt64($1 - UInt8(ascii: "0")) } << 10
      }
      if let figure = bytes("MemTotal:") {
        total = figure
      } else if let figure = bytes("MemFree:"), !knowsAvailable {
        available = figure
      } else if let figure = bytes("MemAvailable:") {
        available = figure
        knowsAvailable = true
      } else if let figure = bytes("CmaTotal:") {
        contiguousTotal = figure
      } else if let figure = bytes("CmaFree:") {
        contiguousFree = figure
      }
    }
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
    let available = SmallFile.number(availablePages(name, in: directory))
    return CMARegion(
      name: name, total: total * pageSize, available: available.map { $0 * pageSize })
  }

  static func availablePages(_ name: String, in directory: String) -> String {
    "\(directory)/\(name)/available_pages"
  }
}
