import Foundation

/// A folder of its own, removed with all that is in it.
final class Folder {
  let path: String

  init() throws { path = try Daemon.newFolder() }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of a new file.
  func file(_ name: String, _ text: String) throws -> String {
    try text.write(toFile: path + "/" + name, atomically: true, encoding: .utf8)
    return path + "/" + name
  }
}
