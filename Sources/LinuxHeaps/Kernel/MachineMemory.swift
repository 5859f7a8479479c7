internal import CLibrary
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
    var text = text
    // By the bytes, because admission reads it often.
    self = text.withUTF8 { unsafe MachineMemory(parsing: $0) }
  }

  private init(parsing text: UnsafeBufferPointer<UInt8>) {
    (total, available, contiguousFree, contiguousTotal) = (0, 0, 0, 0)
    var free: UInt64 = 0
    var known: UInt64?
    var start = 0
    while start < text.count {
      // "MemTotal:  24576 kB": the unit is 1024 bytes.
      func figure(_ name: StaticString) -> UInt64? {
        var place = start + name.utf8CodeUnitCount
        guard place < text.count,
          unsafe memcmp(text.baseAddress! + start, name.utf8Start, name.utf8CodeUnitCount) == 0
        else { return nil }
        while unsafe place < text.count && text[place] == UInt8(ascii: " ") { place += 1 }
        var kibibytes: UInt64 = 0
        while unsafe place < text.count && isdigit(CInt(text[place])) != 0 && kibibytes >> 50 == 0 {
          kibibytes = unsafe kibibytes * 10 + UInt64(text[place] - UInt8(ascii: "0"))
          place += 1
        }
        return kibibytes << 10
      }
      switch unsafe text[start] {
      case UInt8(ascii: "M"):
        if let figure = figure("MemTotal:") { total = figure }
        if let figure = figure("MemFree:") { free = figure }
        if let figure = figure("MemAvailable:") { known = figure }
      case UInt8(ascii: "C"):
        if let figure = figure("CmaTotal:") { contiguousTotal = figure }
        if let figure = figure("CmaFree:") { contiguousFree = figure }
      default: break
      }
      let end = unsafe memchr(
        text.baseAddress! + start, CInt(UInt8(ascii: "\n")), text.count - start)
      guard let end = unsafe end else { break }
      start = unsafe UnsafeRawPointer(end) - UnsafeRawPointer(text.baseAddress!) + 1
    }
    // Absent from a kernel before 3.14, or a container's stand-in for the file.
    available = known ?? free
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
