import Foundation
import Testing

@Suite struct ColorTests {
  static let plain = ["verify", "--heap", "opaque", "--seed", "1"]
  static let green = "\u{1b}[32mpass\u{1b}[0m  opaque  "

  /// script(1) gives heapctl a terminal.
  private func onTerminal(
    _ words: [String] = [], _ environment: String...
  ) throws -> String {
    let run = try Run.program(
      "/usr/bin/env",
      ["-u", "NO_COLOR", "TERM=xterm"] + environment + [
        "/usr/bin/script", "-qec",
        ([try Run.heapctlPath] + Self.plain + words).joined(separator: " "), "/dev/null",
      ])
    #expect(run.status == 0)
    return run.output
  }

  @Test func `no colour without a terminal`() throws {
    #expect(!(try Run.heapctl(Self.plain).output.contains("\u{1b}")))
    #expect(!(try Run.heapctl(Self.plain + ["--color", "never"]).output.contains("\u{1b}")))
  }

  @Test func `always means always, and changes no word`() throws {
    let plain = try Run.heapctl(Self.plain)
    let always = try Run.heapctl(Self.plain + ["--color", "always"])
    let lines = always.output.split(separator: "\n").dropLast()
    #expect(lines.allSatisfy { $0.hasPrefix(Self.green) })
    #expect(
      always.output.replacing("\u{1b}[32m", with: "").replacing("\u{1b}[0m", with: "")
        == plain.output)
  }

  @Test func `colour on a terminal, by what the user and the environment say`() throws {
    #expect(try onTerminal().hasPrefix(Self.green))
    #expect(try onTerminal([], "NO_COLOR=").hasPrefix(Self.green))
    #expect(try onTerminal([], "NO_COLOR=1").hasPrefix("pass  opaque"))
    #expect(try onTerminal([], "TERM=dumb").hasPrefix("pass  opaque"))
    #expect(try onTerminal(["--color", "never"]).hasPrefix("pass  opaque"))
    #expect(try onTerminal(["--color", "always"], "NO_COLOR=1").hasPrefix(Self.green))
  }

  @Test func `JSON is never coloured`() throws {
    let run = try Run.heapctl(Self.plain + ["--json", "--color", "always"])
    #expect(!run.output.contains("\u{1b}"))
  }

  @Test func `every verb's refusal is marked`() throws {
    let words = ["alloc", "--size", "1M", "--heap", "no-such-heap"]
    let plain = try Run.heapctl(words)
    let always = try Run.heapctl(words + ["--color", "always"])
    #expect(plain.error.hasPrefix("heapctl: "))
    #expect(always.error == "\u{1b}[31mheapctl:\u{1b}[0m" + plain.error.dropFirst("heapctl:".count))
  }

  @Test func `a word that is none is wrong usage`() throws {
    let run = try Run.heapctl("list", "--color", "sometimes")
    #expect(run.status == 64)
    #expect(run.error.contains("Please provide one of 'auto', 'always' or 'never'."))
  }
}
