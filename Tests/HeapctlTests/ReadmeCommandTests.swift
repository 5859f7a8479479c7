import Foundation
import Glibc
import TestSupport
import Testing

@Suite(.serialized) struct ReadmeCommandTests {
  private static func readme() throws -> String {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    return try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
  }

  static func commands() throws -> [[String]] {
    try readme().components(separatedBy: "```sh\n").dropFirst()
      .flatMap { $0.components(separatedBy: "```")[0].split(separator: "\n") }
      .filter { $0.hasPrefix("heapctl ") }
      .map { $0.prefix { $0 != "#" }.split(separator: " ").dropFirst().map(String.init) }
  }

  @Test func `the README's heapctl commands work`() throws {
    let commands = try Self.commands()
    #expect(
      commands.map(\.first) == ["doctor", "verify", "list", "alloc", "verify", "verify", "devices"])
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

  /// As they stand, in a shell, where nothing is installed but the programs: /etc and /run have nothing of theirs.
  @Test(arguments: geteuid() == 0 ? [0, 65_534] : [geteuid()])
  func `the README's commands for the service work`(_ user: uid_t) throws {
    let text = try Self.readme().components(separatedBy: "## As a service\n")[1]
    let lines = text.components(separatedBy: "```console\n")[1].components(separatedBy: "```")[0]
      .split(separator: "\n").map { $0.dropFirst("$ ".count) }
    #expect(lines.count == 4)
    let programs = URL(fileURLWithPath: try Program.path("heapctl")).deletingLastPathComponent()
      .path
    // Whoever types them waits for a prompt between two lines.
    let script = """
      set -em
      PATH=\(programs):$PATH
      \(lines[0])
      for try in $(seq 600); do [ -S /tmp/heap.sock ] && break; sleep 0.1; done
      \(lines[1...].joined(separator: "\n"))
      wait
      """
    let words =
      user == geteuid()
      ? [] : ["/usr/bin/setpriv", "--reuid", "\(user)", "--regid", "\(user)", "--clear-groups"]
    let shell = words + ["/bin/bash", "-c", script]
    let run = try Run.program(shell[0], Array(shell.dropFirst()))
    #expect(run.status == 0, "\(run.error)")
    #expect(run.output.contains("8 MiB of memfd, served at /tmp/heap.sock: a memfd, inode "))
    #expect(run.output.contains("memfd: 0 of "))
    #expect(!FileManager.default.fileExists(atPath: "/tmp/heap.sock"))
  }
}
