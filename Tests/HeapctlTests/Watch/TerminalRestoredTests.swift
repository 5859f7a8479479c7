import Foundation
import Glibc
import LinuxHeaps
import TestSupport
import Testing

/// The terminal is as it was, however heapctl ends.
@Suite struct TerminalRestoredTests {
  enum Blow: CaseIterable {
    case quit, escape, controlC, controlBackslash, interrupt, terminate, hangUp, kill, abort

    func strike(_ terminal: PseudoTerminal) throws {
      switch self {
      case .quit: try terminal.type("q")
      case .escape: try terminal.type("\u{1b}")
      // Through the line discipline, which makes signals of them.
      case .controlC: try terminal.type("\u{3}")
      case .controlBackslash: try terminal.type("\u{1c}")
      case .interrupt: Glibc.kill(terminal.process, SIGINT)
      case .terminate: Glibc.kill(terminal.process, SIGTERM)
      case .hangUp: Glibc.kill(terminal.process, SIGHUP)
      case .kill: Glibc.kill(terminal.process, SIGKILL)
      // What a crash raises.
      case .abort: Glibc.kill(terminal.process, SIGABRT)
      }
    }

    var ending: PseudoTerminal.Ending {
      switch self {
      case .controlBackslash: .signal(SIGQUIT)
      case .kill: .signal(SIGKILL)
      case .abort: .signal(SIGABRT)
      default: .status(0)
      }
    }
  }

  /// A terminal with a prompt, and heapctl's view in front of it.
  private static func watched(_ words: String...) throws -> (PseudoTerminal, [UInt8]) {
    let terminal = try PseudoTerminal()
    let modes = terminal.modes
    try terminal.show("board# heapctl watch")
    try terminal.start([try Program.path("heapctl"), "watch"] + words)
    try terminal.waitForLine("HELD BY")
    #expect(terminal.screen.isAlternate && !terminal.screen.showsCursor)
    #expect(terminal.modes != modes)
    return (terminal, modes)
  }

  private static func expectRestored(_ terminal: PseudoTerminal, _ modes: [UInt8]) throws {
    try terminal.wait(for: "the main screen") { !$0.isAlternate && $0.showsCursor }
    #expect(terminal.screen.lines.filter { $0 != "" } == ["board# heapctl watch"])
    #expect(terminal.modes == modes)
  }

  @Test(arguments: Blow.allCases)
  func `the modes, the screen and the cursor come back`(_ blow: Blow) throws {
    let (terminal, modes) = try Self.watched()
    let guardian = try #require(Self.guardian(of: terminal.process))
    // Nothing but the terminal and its orders, and no signal of the terminal's: as soon as it runs.
    try terminal.wait(for: "a guardian that holds nothing else") { _ in
      let files = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(guardian)/fd")
      return files.sorted() == ["0", "1", "2"] && getsid(guardian) == guardian
    }

    try blow.strike(terminal)
    #expect(try terminal.end() == blow.ending)
    try Self.expectRestored(terminal, modes)
    try terminal.wait(for: "the guardian's end") { _ in !ProcessState.isRunning(guardian) }
  }

  @Test func `a kill comes in any moment`() throws {
    for delay in 0..<12 {
      let terminal = try PseudoTerminal()
      let modes = terminal.modes
      try terminal.start("watch")
      try terminal.wait(for: "other modes") { _ in terminal.modes != modes }
      usleep(UInt32(delay * 200))
      Glibc.kill(terminal.process, SIGKILL)
      #expect(try terminal.end() == .signal(SIGKILL))
      try terminal.wait(for: "the modes of before") { _ in terminal.modes == modes }
      try terminal.wait(for: "the main screen") { !$0.isAlternate && $0.showsCursor }
    }
  }

  @Test func `modes that a shell has set meanwhile are its own`() throws {
    let (terminal, modes) = try Self.watched()
    try terminal.changeModes {
      $0.c_lflag &= ~tcflag_t(ECHO); $0.c_lflag |= tcflag_t(ICANON)
    }
    let others = terminal.modes
    Glibc.kill(terminal.process, SIGKILL)
    _ = try terminal.end()
    try terminal.wait(for: "the main screen") { !$0.isAlternate && $0.showsCursor }
    #expect(terminal.modes == others)
    #expect(others != modes)
  }

  @Test func `Ctrl-Z gives the terminal to the shell, and fg takes it back`() throws {
    let terminal = try PseudoTerminal(rows: 40, columns: 100)
    let modes = terminal.modes
    let script = """
      set -m; "$0" watch; echo stopped with $?; stty -a | grep -q ' echo ' && echo echoes; read -r word
      fg > /dev/null; echo ended with $?
      """
    try terminal.start(["/bin/bash", "--norc", "-c", script, try Program.path("heapctl")])
    try terminal.waitForLine("HELD BY")
    try terminal.type("\u{1a}")
    try terminal.waitForLine("stopped with 148")
    try terminal.waitForLine("echoes")
    #expect(!terminal.screen.isAlternate && terminal.screen.showsCursor)
    #expect(terminal.modes == modes)
    try terminal.type("now\n")
    try terminal.waitForLine("HELD BY")
    #expect(terminal.screen.isAlternate && !terminal.screen.showsCursor)
    try terminal.type("?")
    try terminal.waitForLine("q Esc: quit")
    try terminal.type("q")
    try terminal.waitForLine("ended with 0")
    #expect(try terminal.end() == .status(0))
    #expect(!terminal.screen.isAlternate && terminal.screen.showsCursor)
    #expect(terminal.modes == modes)
  }

  @Test func `after SIGSTOP and SIGCONT the view is whole again`() throws {
    let (terminal, modes) = try Self.watched("--interval", "3600")
    Glibc.kill(terminal.process, SIGSTOP)
    try terminal.wait(for: "the stop") { _ in ProcessState(terminal.process)?.letter == "T" }
    try terminal.changeModes { $0.c_lflag |= tcflag_t(ICANON | ECHO) }
    try terminal.show("\u{1b}[H\u{1b}[Jlog in:")
    Glibc.kill(terminal.process, SIGCONT)
    try terminal.waitForLine("HELD BY")
    try terminal.wait(for: "nothing of others") { !$0.lines.contains { $0.contains("log in") } }
    try terminal.type("q")
    #expect(try terminal.end() == .status(0))
    try Self.expectRestored(terminal, modes)
  }

  @Test(arguments: [SIGTERM, SIGKILL])
  func `a terminal that does not read keeps nobody`(_ signal: CInt) throws {
    let (terminal, modes) = try Self.watched("--interval", "3600")
    let guardian = try #require(Self.guardian(of: terminal.process))
    // As many whole pictures as no terminal has room for.
    var room = pollfd(fd: terminal.output, events: Int16(POLLOUT), revents: 0)
    while unsafe poll(&room, 1, 1000) == 1 {
      try terminal.type("\u{c}")
      usleep(1000)
    }
    Glibc.kill(terminal.process, signal)
    #expect(try terminal.end(isRead: false) == (signal == SIGKILL ? .signal(signal) : .status(0)))
    while ProcessState.isRunning(guardian) { usleep(10_000) }
    #expect(terminal.modes == modes)
  }

  @Test func `a terminal that goes away ends it, and its guardian`() throws {
    let terminal = try Self.watched().0
    let guardian = try #require(Self.guardian(of: terminal.process))
    #expect(terminal.hangUp() == .status(0))
    while ProcessState.isRunning(guardian) { usleep(10_000) }
  }

  // MARK: Processes

  /// The child of a process.
  private static func guardian(of process: pid_t) -> pid_t? {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.compactMap { pid_t($0) }.first { ProcessState($0)?.parent == process }
  }
}
