internal import Glibc
internal import SystemPackage

/// Reads files of /proc and /sys, which are made anew by the kernel at each read.
enum SmallFile {
  /// The text of a file of at most `limit` bytes.
  static func read(_ path: String, limit: Int = 16 << 10) throws(Errno) -> String {
    try text(of: try .open(path, O_RDONLY), limit: limit)
  }

  static func read(_ name: String, in directory: borrowing OwnedFD) throws(Errno) -> String {
    let number = directory.rawValue
    return try text(
      of: OwnedFD(adopting: try call { unsafe openat(number, name, O_RDONLY | O_CLOEXEC) }), limit: 4096)
  }

  /// The number that a file of one decimal number holds, or nil.
  static func number(_ path: String) -> UInt64? {
    guard let text = try? read(path) else { return nil }
    return UInt64(text.prefix { $0.isNumber })
  }

  private static func text(of file: consuming OwnedFD, limit: Int) throws(Errno) -> String {
    let number = file.rawValue
    var failure: Errno?
    let text = unsafe String(unsafeUninitializedCapacity: limit) { buffer in
      var filled = 0
      do throws(Errno) {
        while filled < limit {
          let offset = filled
          let count = try call {
            unsafe Glibc.read(number, buffer.baseAddress! + offset, limit - offset)
          }
          if count == 0 { break }
          filled += count
        }
      } catch {
        failure = error
      }
      return filled
    }
    if let failure { throw failure }
    return text
  }
}
