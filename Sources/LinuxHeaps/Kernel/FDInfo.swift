internal import Glibc
internal import SystemPackage

/// What `/proc/self/fdinfo/N` says of a dma-buf (Documentation/filesystems/proc.rst).
struct FDInfo: Equatable {
  /// Bytes.
  var size: UInt64
  /// References to the open file in the whole system: descriptors in every process, mappings,
  /// messages in flight, imports of devices. The one that the reading itself takes is not in it.
  var count: Int
  /// The heap that made it, or another exporter, e.g. `udmabuf`.
  var exporter: String
  /// Nil until someone sets it.
  var name: String?

  /// Nil where the text has no `exp_name`: the descriptor is no dma-buf.
  ///
  /// Done with the C library's searches, because it is most of what a look at a buffer costs.
  init?(parsing text: String) {
    let parsed = unsafe ("\n" + text).withCString { text -> FDInfo? in
      guard let size = unsafe Self.number("size", text),
        let count = unsafe Self.number("count", text),
        let exporter = unsafe Self.field("exp_name", text)
      else { return nil }
      return unsafe FDInfo(
        size: size, count: Int(clamping: count),
        exporter: Self.string(exporter, upTo: strchr(exporter, Self.newline)),
        // The kernel's last line, and any holder may have put line breaks into it.
        name: Self.field("name", text).map {
          unsafe Self.string($0, upTo: strrchr($0, Self.newline))
        })
    }
    guard let parsed else { return nil }
    self = parsed
  }

  private init(size: UInt64, count: Int, exporter: String, name: String?) {
    self.size = size
    self.count = count
    self.exporter = exporter
    self.name = name
  }

  private static let newline = CInt(UInt8(ascii: "\n"))

  /// What stands behind `key` and one tab, at the key's first place: a later one is part of a name.
  private static func field(_ key: String, _ text: UnsafePointer<CChar>) -> UnsafePointer<CChar>? {
    let start = "\n\(key):\t"
    return unsafe strstr(text, start).map { unsafe UnsafePointer($0 + start.utf8.count) }
  }

  private static func number(_ key: String, _ text: UnsafePointer<CChar>) -> UInt64? {
    guard let digits = unsafe field(key, text), unsafe isdigit(CInt(digits.pointee)) != 0 else {
      return nil
    }
    var end: UnsafeMutablePointer<CChar>?
    let number = unsafe strtoull(digits, &end, 10)
    guard let end = unsafe end, unsafe CInt(end.pointee) == newline else { return nil }
    return UInt64(number)
  }

  private static func string(
    _ start: UnsafePointer<CChar>, upTo end: UnsafeMutablePointer<CChar>?
  ) -> String {
    let count = unsafe end.map { unsafe UnsafePointer($0) - start } ?? strlen(start)
    let bytes = unsafe UnsafeRawBufferPointer(start: start, count: count)
    return unsafe String(decoding: bytes, as: UTF8.self)
  }
}

/// `/proc/self/fdinfo`, kept open: one descriptor for all buffers, and a shorter path to each.
final class FDInfoDirectory: Sendable {
  static let shared = FirstSuccess { () throws(Errno) in try FDInfoDirectory() }

  private let fd: OwnedFD

  private init() throws(Errno) {
    fd = try .open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY)
  }

  /// Nil when `number` is no dma-buf.
  func read(_ number: CInt) throws(Errno) -> FDInfo? {
    FDInfo(parsing: try SmallFile.read("\(number)", in: fd))
  }
}
