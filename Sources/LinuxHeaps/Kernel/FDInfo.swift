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
    var size: UInt64?
    var count: Int?
    var exporter: String?
    for line in text.split(separator: "\n") {
      guard let colon = line.firstIndex(of: ":") else { continue }
      // Exactly one tab follows the colon; what comes then may hold anything but a newline.
      let value = line[line.index(after: colon)...].dropFirst()
      switch line[..<colon] {
      case "size": size = UInt64(value)
      case "count": count = Int(value)
      case "exp_name": exporter = String(value)
      case "name": name = String(value)
      default: continue
      }
    }
    guard let size, let count, let exporter else { return nil }
    self.size = size
    self.count = count
    self.exporter = exporter
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
