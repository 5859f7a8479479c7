import Foundation
import TestSupport
import Testing

/// What holds for every verb, also for those that come later.
@Suite struct VerbTests {
  /// A command as `--experimental-dump-help` has it.
  struct Command: Decodable {
    struct Argument: Decodable {
      struct Name: Decodable { let name: String }
      let names: [Name]?
      let abstract: String?
      let shouldDisplay: Bool
    }

    let commandName: String
    let abstract: String?
    let shouldDisplay: Bool
    let arguments: [Argument]?
    let subcommands: [Command]?
  }

  private struct Tool: Decodable { let command: Command }

  static func verbs() throws -> [Command] {
    let run = try Run.heapctl("--experimental-dump-help")
    let tool = try JSONDecoder().decode(Tool.self, from: Data(run.output.utf8))
    return (tool.command.subcommands ?? []).filter { $0.shouldDisplay && $0.commandName != "help" }
  }

  @Test func `each verb and each of its options is explained`() throws {
    let verbs = try Self.verbs()
    #expect(verbs.count >= 6)
    for verb in verbs {
      #expect(verb.abstract?.isEmpty == false, "\(verb.commandName)")
      for argument in verb.arguments ?? [] where argument.shouldDisplay {
        #expect(
          argument.abstract?.isEmpty == false, "\(verb.commandName) \(argument.names ?? [])")
      }
    }
  }

  @Test func `each verb takes --color`() throws {
    for verb in try Self.verbs() {
      let names = (verb.arguments ?? []).flatMap { $0.names ?? [] }.map(\.name)
      #expect(
        names.contains("color"),
        "\(verb.commandName) lacks an `OutputChoice` or a `ColorChoice`")
    }
  }

  @Test func `the version is the changelog's, with commit and toolchain`() throws {
    let lines = try Run.heapctl("--version").output.split(separator: "\n").map(String.init)
    let version = try #require(try Self.changelogVersion)
    try #require(lines.count == 3)
    #expect(lines[0] == "heapctl \(version)")
    #expect(
      try #/commit (unknown|[0-9a-f]{40}( with changes)?|[^ ]+)/#.wholeMatch(in: lines[1]) != nil)
    #expect(try #/built with Swift 6\.[0-9.]+( or later)?/#.wholeMatch(in: lines[2]) != nil)
    let heapd = try Run.program(
      URL(fileURLWithPath: try Program.path("heapctl")).deletingLastPathComponent().path + "/heapd",
      ["--version"])
    #expect(
      heapd.output.split(separator: "\n").map(String.init) == ["heapd \(version)"] + lines[1...])
  }

  private static var changelogVersion: String? {
    get throws {
      let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
      let text = try String(
        contentsOf: root.appendingPathComponent("CHANGELOG.md"), encoding: .utf8)
      return text.firstMatch(of: #/## ([0-9.]+)/#).map { String($0.1) }
    }
  }
}
