import Foundation
import Glibc
import TestSupport
import Testing

/// The terminal is as it was, however heapctl ends that can do something before.
@Suite struct TerminalRestoredTests {
  enum Blow: CaseIterable {
    case quit, controlC, controlBackslash, interrupt, terminate, hangUp

    func strike(_ terminal: PseudoTerminal) throws {
      switch self {
      case .quit: try terminal.type("q")
      // Through the line discipline, which makes signals of them.
      case .controlC: try terminal.type("\u{3}")
      case .controlBackslash: try terminal.type("\u{1c}")
      case .interrupt: kill(terminal.process, SIGINT)
      case .terminate: kill(terminal.process, SIGTERM)
      case .hangUp: kill(terminal.process, SIGHUP)
      }
    }
  }

  private static func watched(_ words: String...) throws -> PseudoTerminal {
    let program = [try Program.path("heapctl"), "watch"] + words
    let terminal = try PseudoTerminal(program: program)
    try terminal.waitForLine("q quit")
    #expect(terminal.isTakenOver && terminal.modes != terminal.modesBefore)
    return terminal
  }

  @Test(arguments: Blow.allCases)
  func `the modes, the screen and the cursor come back`(_ blow: Blow) throws {
    let terminal = try Self.watched()
    try blow.strike(terminal)
    #expect(terminal.end() == (blow == .controlBackslash ? .signal(SIGQUIT) : .status(0)))
    #expect(terminal.isRestored)
  }

  @Test func `Ctrl-Z gives the terminal to the shell, and fg takes it back`() throws {
    let script = """
      set -m; "$0" watch; echo stopped with $?; stty -a | grep -q ' echo ' && echo echoes; read -r word
      fg > /dev/null; echo ended with $?
      """
    let terminal = try PseudoTerminal(
      program: ["/bin/bash", "--norc", "-c", script, try Program.path("heapctl")])
    try terminal.waitForLine("q quit")
    try terminal.type("\u{1a}")
    try terminal.waitForLine("stopped with 148")
    try terminal.waitForLine("echoes")
    #expect(terminal.isRestored)
    try terminal.type("now\n")
    try terminal.wait(for: "the view") {
      $0.isTakenOver && $0.lines.last?.hasPrefix("q quit") == true
    }
    try terminal.type("q")
    try terminal.waitForLine("ended with 0")
    #expect(terminal.end() == .status(0))
    #expect(terminal.isRestored)
  }

  @Test func `after SIGSTOP and SIGCONT the view is there again`() throws {
    let terminal = try Self.watched("--interval", "3600")
    kill(terminal.process, SIGSTOP)
    try terminal.wait(for: "the stop") { ProcessState($0.process)?.letter == "T" }
    try terminal.changeModes { $0.c_lflag |= tcflag_t(ICANON | ECHO) }
    let before = terminal.text.utf8.count
    kill(terminal.process, SIGCONT)
    try terminal.wait(for: "a new picture") {
      $0.text.utf8.count > before && $0.lines.last?.hasPrefix("q quit") == true
    }
    #expect(terminal.isTakenOver)
    try terminal.type("q")
    #expect(terminal.end() == .status(0))
    #expect(terminal.isRestored)
  }

  @Test func `a terminal that does not read keeps nobody`() throws {
    let terminal = try Self.watched("--interval", "3600")
    // As many pictures as no terminal has room for.
    while terminal.hasRoom {
      try terminal.type("x")
      usleep(1000)
    }
    kill(terminal.process, SIGTERM)
    #expect(terminal.end(isRead: false) == .status(0))
    #expect(terminal.modes == terminal.modesBefore)
  }

  @Test func `a terminal that goes away ends it`() throws {
    let terminal = try Self.watched()
    terminal.hangUp()
    #expect(terminal.end(isRead: false) == .status(0))
  }
}
