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
  init?(parsing text: String) {
    var fields: [Substring: Substring] = [:]
    // By bytes: "\r\n" is one Character.
    var rest = text.utf8[...]
    let newline = UInt8(ascii: "\n")
    while let first = rest.firstIndex(of: newline), let last = rest.lastIndex(of: newline) {
      // The name is the kernel's last line, and any holder may put line breaks into it: all that
      // follows is name, lest it be taken for a count.
      let end = rest.starts(with: "name:".utf8) ? last : first
      let line = rest[..<end]
      rest = rest[rest.index(after: end)...]
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
      // Exactly one tab follows the colon.
      fields[Substring(line[..<colon])] = Substring(line[line.index(after: colon)...].dropFirst())
    }
    guard let size = fields["size"].flatMap({ UInt64($0) }),
      let count = fields["count"].flatMap({ Int($0) }), let exporter = fields["exp_name"]
    else { return nil }
    self.size = size
    self.count = count
    self.exporter = String(exporter)
    name = fields["name"].map(String.init)
  }
}

/// `/proc/self/fdinfo`, kept open: one descriptor for all buffers, and a shorter path to each.
final class FDInfoDirectory: Sendable {
  static let shared: Result<FDInfoDirectory, Errno> = {
    do throws(Errno) { return .success(try FDInfoDirectory()) } catch { return .failure(error) }
  }()

  private let fd: OwnedFD

  private init() throws(Errno) {
    fd = try .open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY)
  }

  /// Nil when `number` is no dma-buf.
  func read(_ number: CInt) throws(Errno) -> FDInfo? {
    FDInfo(parsing: try SmallFile.read("\(number)", in: fd))
  }
}
