import Foundation
import TestSupport
import Testing

@Suite struct WatchRefusalTests {
  private static let refusal = "heapctl: watch the buffers: "
  private static let fix =
    ". To fix it: run it in a terminal, or print them once: heapctl holders\n"

  @Test func `without a terminal for its output it says so, and nothing else`() throws {
    let run = try Run.heapctl("watch")
    #expect(
      run
        == Run(
          output: "", error: Self.refusal + "standard output is no terminal" + Self.fix, status: 64)
    )
  }

  @Test(
    arguments: [
      ("heapctl watch < /dev/null", "standard input is no terminal, so no key can come from it"),
      ("TERM=dumb heapctl watch", "the terminal cannot move its cursor (TERM=dumb)"),
    ])
  func `a terminal that is not enough is refused`(_ command: String, _ cause: String) throws {
    let terminal = try PseudoTerminal(rows: 10, columns: 200)
    let command = command.replacing("heapctl", with: try Program.path("heapctl"))
    try terminal.start(["/bin/sh", "-c", command + " --color never"])
    #expect(try terminal.end() == .status(64))
    try terminal.wait(for: cause) {
      $0.lines.prefix { $0 != "" } == [Self.refusal + cause + String(Self.fix.dropLast())]
    }
    #expect(!terminal.screen.isAlternate && terminal.screen.showsCursor)
  }

  @Test(
    arguments: [
      ["--interval", "0"], ["--interval", "-1"], ["--interval", "nan"], ["--interval", "soon"],
      ["--sort", "colour"], ["--pid", "x"],
    ])
  func `wrong usage is told`(_ words: [String]) throws {
    let run = try Run.heapctl(["watch"] + words)
    #expect(run.status == 64)
    #expect(run.error.contains(words[0]))
    #expect(run.output == "")
  }

  @Test func `a process that is not there is named`() throws {
    let terminal = try PseudoTerminal(rows: 10, columns: 200)
    try terminal.start("watch", "--pid", "4194305")
    #expect(try terminal.end() == .status(1))
    try terminal.waitForLine("heapctl: look into process 4194305 (/proc/4194305): no such process")
    #expect(!terminal.screen.isAlternate && terminal.screen.showsCursor)
  }
}
