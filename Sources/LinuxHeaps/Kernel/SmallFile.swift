internal import CLibrary
package import SystemPackage

/// Reads files of /proc and /sys, which are made anew by the kernel at each read.
package enum SmallFile {
  /// The text of a file of at most `limit` bytes.
  package static func read(_ path: String, limit: Int = 16 << 10) throws(Errno) -> String {
    try text(of: try .open(path, O_RDONLY), limit: limit)
  }

  /// The text of a file of any length.
  package static func readAll(_ path: String) throws(Errno) -> String {
    var limit = 64 << 10
    while true {
      // From its start each time: what follows at another offset would be of another moment.
      let text = try read(path, limit: limit)
      if text.utf8.count < limit { return text }
      limit *= 4
    }
  }

  static func read(_ name: String, in directory: borrowing OwnedFD) throws(Errno) -> String {
    let number = directory.rawValue
    return try text(
      of: OwnedFD(adopting: try call { unsafe openat(number, name, O_RDONLY | O_CLOEXEC) }),
      limit: 4096)
  }

  /// The number that a file of one decimal number holds, or nil.
  static func number(_ path: String) -> UInt64? {
    guard let text = try? read(path) else { return nil }
    return text[...].leadingNumber
  }

  /// The number that an open file of one decimal number holds now, or nil. Such a file of /sys is made anew at each read from
  /// its start (fs/kernfs/file.c).
  static func number(in file: borrowing OwnedFD) -> UInt64? {
    let descriptor = file.rawValue
    var digits: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    return unsafe withUnsafeMutableBytes(of: &digits) { bytes in
      let count = try? call { unsafe pread(descriptor, bytes.baseAddress!, bytes.count, 0) }
      guard let count, count > 0, unsafe isdigit(CInt(bytes[0])) != 0 else { return nil }
      return unsafe bytes.prefix(min(count, 15)).prefix { isdigit(CInt($0)) != 0 }
        .reduce(0) { $0 * 10 + UInt64($1 - UInt8(ascii: "0")) }
    }
  }

  /// The names in a directory, sorted, without `.` and `..`.
  package static func entries(of directory: String) throws(Errno) -> [String] {
    guard let stream = unsafe opendir(directory) else { throw Errno(rawValue: errno) }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while true {
      // Null at the end and at a failure alike (readdir(3)).
      errno = 0
      guard let entry = unsafe readdir(stream) else {
        if errno != 0 { throw Errno(rawValue: errno) }
        break
      }
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
        unsafe name.withMemoryRebound(to: CChar.self, capacity: 256) { name in
          unsafe String(cString: name)
        }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Where a symbolic link points, as readlink(2) tells it.
  package static func link(_ path: String) throws(Errno) -> String {
    var failure: Errno?
    let text = unsafe String(unsafeUninitializedCapacity: 4096) { buffer in
      do throws(Errno) {
        return try call {
          unsafe buffer.withMemoryRebound(to: CChar.self) { buffer in
            unsafe readlink(path, buffer.baseAddress!, buffer.count)
          }
        }
      } catch {
        failure = error
        return 0
      }
    }
    if let failure { throw failure }
    return text
  }

  /// What is left of a file, at most `limit` bytes. What is no UTF-8 has U+FFFD in its place.
  package static func text(of file: borrowing OwnedFD, limit: Int) throws(Errno) -> String {
    let number = file.rawValue
    var failure: Errno?
    let text = unsafe String(unsafeUninitializedCapacity: limit) { buffer in
      unsafe fill(buffer, from: number, &failure)
    }
    if let failure { throw failure }
    return text
  }

  /// The same as it is.
  package static func bytes(of file: borrowing OwnedFD, limit: Int) throws(Errno) -> [UInt8] {
    let number = file.rawValue
    var failure: Errno?
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
      count = unsafe fill(buffer, from: number, &failure)
    }
    if let failure { throw failure }
    return bytes
  }

  private static func fill(
    _ buffer: UnsafeMutableBufferPointer<UInt8>, from file: CInt, _ failure: inout Errno?
  ) -> Int {
    var filled = 0
    do throws(Errno) {
      while filled < buffer.count {
        let offset = filled
        let count = try call {
          unsafe CLibrary.read(file, buffer.baseAddress! + offset, buffer.count - offset)
        }
        if count == 0 { break }
        filled += count
      }
    } catch {
      failure = error
    }
    return filled
  }
}

extension Substring {
  /// The decimal number that it begins with, up to 2^64 - 1; nil where there is none. By bytes: what is a number among characters
  /// is looked up in tables of thousands.
  package var leadingNumber: UInt64? {
    UInt64(Substring(utf8.prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }))
  }
}

/// The running kernel's release, as `uname -r` shows it. By uname(2): a /proc of processes alone has no sys.
public let kernelRelease: String = {
  var names = utsname()
  unsafe uname(&names)
  return unsafe withUnsafeBytes(of: names.release) { bytes in
    unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }
}()
