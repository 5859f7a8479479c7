import Foundation

/// The package's README.
enum Readme {
  static func file(_ name: String) throws -> String {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return try String(contentsOf: root.appendingPathComponent(name), encoding: .utf8)
  }

  static var text: String { get throws { try file("README.md") } }

  /// The lines of its `sh` blocks, without comments.
  static var commands: [String] {
    get throws {
      try text.components(separatedBy: "```sh\n").dropFirst()
        .compactMap { $0.components(separatedBy: "```").first }
        .flatMap { $0.split(separator: "\n") }
        .compactMap { $0.components(separatedBy: "#").first?.trimmingCharacters(in: .whitespaces) }
    }
  }
}
