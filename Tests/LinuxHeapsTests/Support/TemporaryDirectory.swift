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

  func directory(_ name: String) throws {
    _ = try call { unsafe mkdir("\(path)/\(name)", 0o700) }
  }

  private static func removeAll(_ path: String) {
    // A symbolic link and a file go at once; only a directory that is not empty stays.
    if unsafe remove(path) == 0 { return }
    for name in (try? SmallFile.entries(of: path)) ?? [] { removeAll("\(path)/\(name)") }
    unsafe remove(path)
  }
}
