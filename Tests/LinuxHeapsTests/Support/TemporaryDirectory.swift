import Glibc
import SystemPackage

@testable import LinuxHeaps

/// A directory of its own, removed with all that is in it.
struct TemporaryDirectory: ~Copyable {
  let path: String

  init() throws {
    var template = Array("/tmp/linux-heaps-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { Self.removeAll(path) }

  func file(_ name: String, _ text: String = "") throws {
    let file = try OwnedFD(
      adopting: call { unsafe open("\(path)/\(name)", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600) })
    let bytes = Array(text.utf8)
    let number = file.rawValue
    _ = try call { unsafe write(number, bytes, bytes.count) }
  }

  func link(_ name: String, to target: String) throws {
    _ = try call { unsafe symlink(target, "\(path)/\(name)") }
  }

  /// With those that it is in.
  func directory(_ name: String) throws {
    var directory = path
    for part in name.split(separator: "/") {
      directory += "/\(part)"
      guard unsafe mkdir(directory, 0o700) == 0 || errno == EEXIST else {
        throw Errno(rawValue: errno)
      }
    }
  }

  private static func removeAll(_ path: String) {
    // A symbolic link and a file go at once; only a directory that is not empty stays.
    if unsafe remove(path) == 0 { return }
    for name in (try? SmallFile.entries(of: path)) ?? [] { removeAll("\(path)/\(name)") }
    unsafe remove(path)
  }
}
