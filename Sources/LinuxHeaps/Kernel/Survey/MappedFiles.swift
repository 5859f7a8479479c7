internal import Glibc
internal import SystemPackage

/// The mappings of a process that are of files (`/proc/PID/maps`, proc(5)).
enum MappedFiles {
  struct Region: Equatable {
    /// As `/proc/PID/map_files` spells them.
    let addresses: String
    let identity: VMOIdentity
    let path: String
  }

  /// Only those whose path is a dma-buf's or a memfd's.
  static func read(_ process: pid_t) throws(Errno) -> [Region] {
    parse(try SmallFile.readAll("/proc/\(process)/maps"))
  }

  /// The lines are found with the C library's searches: a process can have a hundred thousand, and
  /// few are of interest.
  static func parse(_ text: String) -> [Region] {
    unsafe text.withCString { text in
      var regions: [Region] = []
      for needle in ["/dmabuf:", "/memfd:"] {
        var start = unsafe text
        while let hit = unsafe strstr(start, needle) {
          var line = unsafe UnsafePointer(hit)
          while unsafe line > text && line[-1] != newline { unsafe line -= 1 }
          let end = unsafe strchrnul(hit, CInt(newline))
          let bytes = unsafe UnsafeRawBufferPointer(start: line, count: UnsafePointer(end) - line)
          // Elsewhere in the line it is part of another path.
          if let region = unsafe Region(String(decoding: bytes, as: UTF8.self)),
            region.path.hasPrefix(needle)
          {
            regions.append(region)
          }
          unsafe start = UnsafePointer(end)
        }
      }
      return regions
    }
  }

  private static let newline = CChar(UInt8(ascii: "\n"))

  private static func strchrnul(
    _ text: UnsafePointer<CChar>, _ character: CInt
  ) -> UnsafeMutablePointer<CChar> {
    unsafe strchr(text, character) ?? UnsafeMutablePointer(mutating: text + strlen(text))
  }
}

extension MappedFiles.Region {
  /// A line is `ADDRESSES RIGHTS OFFSET MAJOR:MINOR INODE PATH`, device numbers in base 16.
  fileprivate init?(_ line: String) {
    let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
    guard fields.count == 6 else { return nil }
    let path = fields[5].drop { $0 == " " }
    guard let inode = UInt64(fields[4]) else { return nil }
    let numbers = fields[3].split(separator: ":").compactMap { UInt32($0, radix: 16) }
    guard numbers.count == 2 else { return nil }
    let device = Self.makedev(numbers[0], numbers[1])
    self.init(
      addresses: String(fields[0]), identity: VMOIdentity(device: device, inode: inode),
      path: String(path))
  }

  /// As glibc composes `st_dev` (makedev(3)).
  private static func makedev(_ major: UInt32, _ minor: UInt32) -> UInt64 {
    UInt64(major & 0xfff) << 8 | UInt64(major & ~0xfff) << 32 | UInt64(minor & 0xff)
      | UInt64(minor & ~0xff) << 12
  }
}
