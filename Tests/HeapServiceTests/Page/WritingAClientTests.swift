import Foundation
import Testing

/// The page from which anyone can write a client: its example is run, and its bytes are those of the
/// decoder's own tests.
@Suite struct WritingAClientTests {
  private static let page = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
    .appendingPathComponent("Sources/HeapProtocol/HeapProtocol.docc/WritingAClient.md")

  /// The Python of the page.
  private static func example() throws -> String {
    let text = try String(contentsOf: page, encoding: .utf8)
    let start = try #require(text.range(of: "```python\n"))
    let end = try #require(text.range(of: "```", range: start.upperBound..<text.endIndex))
    return String(text[start.upperBound..<end.lowerBound])
  }

  @Test func `its example is short enough to read`() throws {
    #expect(try Self.example().split(separator: "\n", omittingEmptySubsequences: false).count < 60)
  }

  @Test(arguments: [[], ["contiguous"]])
  func `its example allocates, writes and deletes`(_ arguments: [String]) throws {
    let daemon = try Daemon()
    let script = daemon.folder + "/client.py"
    try Self.example().write(toFile: script, atomically: true, encoding: .utf8)
    let python = Process()
    python.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    python.arguments = ["python3", script, daemon.socket] + arguments
    let output = Pipe()
    python.standardOutput = output
    python.standardError = output
    try python.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    python.waitUntilExit()
    #expect(text == "hello 8192\ndeleted\n", "\(daemon.log)")
    #expect(python.terminationStatus == 0)
  }
}
