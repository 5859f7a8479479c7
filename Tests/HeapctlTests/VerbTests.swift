import Foundation
import Glibc
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

  /// All that ends by itself and needs no device; each has something to say on standard output.
  private static let writers = [
    "list", "list --json", "alloc --heap memfd --size 1M", "alloc --heap memfd --size 1M --json",
    "load /etc/passwd --heap memfd", "load /etc/passwd --heap memfd --json",
    "doctor", "doctor --json",
    "holders", "holders --json", "holders --growing 0.1", "verify --heap opaque",
    "verify --heap opaque --json",
    "verify --heap opaque --format ktap",
    "verify --heap opaque --format junit", "verify --heap opaque --format html",
    "bench --heap memfd --sizes 4K --rounds 2",
    "stress --heap memfd --steps 100", "demo", "completion bash", "--version",
    "--help", "help alloc",
    "alloc --help",
  ]

  @Test(arguments: writers)
  func `output that cannot be written is no success`(_ words: String) throws {
    for (place, reason) in [
      ("> /dev/full", "No space left on device"), (">&-", "Bad file descriptor"),
    ] {
      let run = try Run.program(
        "/bin/sh", ["-c", "exec \"$0\" \(words) \(place)", try Program.path("heapctl")])
      #expect(run.status == 1, "\(place)")
      #expect(run.error.contains("heapctl: write to standard output: \(reason)"), "\(run.error)")
    }
  }

  /// What it says there is a result too.
  @Test(arguments: ["2> /dev/full", "2>&-"])
  func `standard error counts too`(_ place: String) throws {
    let run = try Run.program(
      "/bin/sh",
      ["-c", "exec \"$0\" alloc --heap memfd --size 1M \(place)", try Program.path("heapctl")])
    #expect(run.status == 1)
    #expect(run.output.contains("1 MiB of memfd"))
  }

  @Test func `a reader that goes early is not spoken to`() throws {
    let run = try Run.program(
      "/bin/sh", ["-c", "\"$0\" completion bash | head -n 1", try Program.path("heapctl")])
    #expect(run == Run(output: "#!/bin/bash\n", error: "", status: 0))
  }

  /// Of each file that it opens the number would be the lowest that is free.
  @Test func `a closed standard output is nobody's file`() throws {
    let run = try Run.program(
      "/bin/sh",
      [
        "-c", "exec \"$0\" alloc --heap memfd --size 1M <&- >&-", try Program.path("heapctl"),
      ])
    #expect(run.status == 1)
    #expect(run.error.contains("given back and reclaimed"))
  }

  /// libdispatch's threads end a process by SIGILL that has no descriptor for them. Where there is a display a picture would be
  /// shown until a signal comes.
  @Test(arguments: [6, 7, 8, 9, 10, 11, 12, 16])
  func `a full descriptor table is told, or does not matter`(_ limit: Int) throws {
    for words in Self.writers + [
      "camera --device /dev/null", "show --seconds 1", "info --socket /nowhere",
    ] {
      let run = try Run.heapctl(
        words.split(separator: " ").map(String.init),
        through: ["/usr/bin/prlimit", "--nofile=\(limit)"])
      let isAbsent = run.status == 69 && !Self.writers.contains(words)
      #expect([0, 1].contains(run.status) || isAbsent, "\(words): \(run.error)")
      #expect(run.status == 0 || !run.output.isEmpty || !run.error.isEmpty, "\(words)")
    }
    for _ in 0..<5 {
      let run = try Run.heapctl(
        "alloc", "--heap", "memfd", "--size", "1M",
        through: ["/usr/bin/prlimit", "--nofile=\(limit)"])
      #expect(run.status == 0 || run.status == 1 && run.error.contains("NO_RESOURCES"))
    }
  }

  @Test(
    arguments: [
      ("vrify", "there is no verb 'vrify'; did you mean 'verify'?"),
      ("dev", "there is no verb 'dev'; did you mean 'devices'?"),
      ("lst", "there is no verb 'lst'; did you mean 'list'?"),
      ("nosuch", "there is no verb 'nosuch'\n"), ("help nosuch", "there is no verb 'nosuch'\n"),
      ("help alloc nosuch", "help is of one verb: 'nosuch' is one argument too many\n"),
    ])
  func `a verb that is none is wrong usage`(_ words: String, _ error: String) throws {
    let run = try Run.heapctl(words.split(separator: " ").map(String.init))
    #expect(run.status == 64)
    #expect(run.output == "")
    #expect(run.error.contains(error))
  }

  @Test func `no verb is guessed of nothing`() throws {
    let run = try Run.heapctl("")
    #expect(run.status == 64 && run.error.contains("there is no verb ''\n"), "\(run.error)")
  }

  /// What a terminal would obey is shown.
  @Test(arguments: [
    "alloc --size 1M --heap", "verify --heap", "bench --heap", "info --socket", "show --image",
    "verify --from", "camera --device", "load",
  ])
  func `an error obeys no name`(_ words: String) throws {
    let words = words.split(separator: " ").map(String.init)
    let run = try Run.heapctl(words + ["/nowhere/\u{1b}[2J"])
    #expect(run.status == 69)
    #expect(run.error.contains("\\u{1B}[2J") && !run.error.contains("\u{1b}"), "\(run.error)")
  }

  @Test(arguments: ["camera", "show"])
  func `who names another file for a device is not told to remove it`(_ verb: String) throws {
    let folder = try TemporaryFolder()
    let user = geteuid() == 0 ? Prefix.namespace("", as: Prefix.nobody) : []
    for (path, prefix) in [(folder.path, []), ("/", user), ("/etc/passwd", user)] {
      let run = try Run.heapctl(verb, "--device", path, through: prefix)
      #expect(run.status == 69)
      #expect(run.error.contains("it is no character device"), "\(run.error)")
      #expect(!run.error.contains("rm "), "\(run.error)")
    }
  }

  /// The option is named that cannot have it, and not said to have no value.
  @Test(
    arguments: [
      "alloc --size", "bench --rounds", "bench --sizes", "camera --device /dev/video0 --frames",
      "camera --device /dev/video0 --buffers", "camera --device /dev/video0 --size",
      "holders --pid", "holders --growing",
      "show --seconds",
      "stress --seconds", "stress --steps", "stress --seed", "verify --seed", "watch --pid",
      "watch --interval",
    ])
  func `a negative number is taken for a value`(_ words: String) throws {
    let words = words.split(separator: " ").map(String.init)
    let run = try Run.heapctl(words + ["-1"])
    #expect(run.status == 64)
    #expect(run.error.split(separator: "\n")[0].contains(words.last!), "\(run.error)")
    #expect(!run.error.contains("Missing"))
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
