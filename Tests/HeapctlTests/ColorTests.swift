import Foundation
import TestSupport
import Testing

@Suite struct ColorTests {
  /// The shortest thing that heapctl can say in colour.
  static let words = ["alloc", "--size", "1M", "--heap", "no-such-heap"]
  static let plain = "heapctl: "
  static let red = "\u{1b}[31mheapctl:\u{1b}[0m "

  /// What heapctl says on a terminal, which script(1) gives it.
  private func onTerminal(_ words: [String] = [], _ environment: String...) throws -> String {
    let command = ([try Program.path("heapctl")] + Self.words + words).joined(separator: " ")
    return try Run.program(
      "/usr/bin/env",
      ["-u", "NO_COLOR", "TERM=xterm"] + environment
        + ["/usr/bin/script", "-qec", command, "/dev/null"]
    ).output
  }

  @Test func `no colour without a terminal, unless it is asked for; no word changes`() throws {
    let plain = try Run.heapctl(Self.words)
    #expect(plain.error.hasPrefix(Self.plain))
    #expect(try Run.heapctl(Self.words + ["--color", "never"]) == plain)
    let always = try Run.heapctl(Self.words + ["--color", "always"])
    #expect(always.error == Self.red + plain.error.dropFirst(Self.plain.count))
  }

  @Test func `colour on a terminal, by what the user and the environment say`() throws {
    #expect(try onTerminal().hasPrefix(Self.red))
    #expect(try onTerminal([], "NO_COLOR=").hasPrefix(Self.red))
    #expect(try onTerminal([], "NO_COLOR=1").hasPrefix(Self.plain))
    #expect(try onTerminal([], "TERM=dumb").hasPrefix(Self.plain))
    #expect(try onTerminal(["--color", "never"]).hasPrefix(Self.plain))
    #expect(try onTerminal(["--color", "always"], "NO_COLOR=1").hasPrefix(Self.red))
  }

  @Test func `verify marks outcomes, and JSON never has a colour`() throws {
    let verify = ["verify", "--heap", "opaque", "--color", "always"]
    #expect(!(try Run.heapctl(verify + ["--json"]).output.contains("\u{1b}")))
    let lines = try Run.heapctl(verify).output.split(separator: "\n").dropLast()
    #expect(!lines.isEmpty)
    #expect(lines.allSatisfy { $0.hasPrefix("\u{1b}[32mpass\u{1b}[0m  opaque  ") })
  }

  @Test func `a word that is none is wrong usage`() throws {
    let run = try Run.heapctl("list", "--color", "sometimes")
    #expect(run.status == 64)
    #expect(run.error.contains("Please provide one of 'auto', 'always' or 'never'."))
  }
}
