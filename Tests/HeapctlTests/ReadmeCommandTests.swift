import Foundation
import TestSupport
import Testing

@Suite struct ReadmeCommandTests {
  static func commands() throws -> [[String]] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
    return text.components(separatedBy: "```sh\n").dropFirst()
      .flatMap { $0.components(separatedBy: "```")[0].split(separator: "\n") }
      .filter { $0.hasPrefix("heapctl ") }
      .map { $0.prefix { $0 != "#" }.split(separator: " ").dropFirst().map(String.init) }
  }

  @Test func `the README's heapctl commands work`() throws {
    let commands = try Self.commands()
    #expect(commands.map(\.first) == ["doctor", "verify", "list", "alloc", "verify"])
    let report = FileManager.default.temporaryDirectory
      .appendingPathComponent("\(UUID().uuidString).html").path
    defer { try? FileManager.default.removeItem(atPath: report) }
    for words in commands {
      let run = try Run.heapctl(words.map { $0 == "report.html" ? report : $0 })
      // A machine without heaps is one that doctor finds fault with.
      #expect(
        run.status == 0 || words == ["doctor"] && run.status == 1, "heapctl \(words): \(run.error)")
    }
    #expect(FileManager.default.fileExists(atPath: report))
  }
}
