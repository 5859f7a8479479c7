import Foundation
import Glibc
import TestSupport
import Testing

/// A terminal with a program on it, and what the program shows there.
final class PseudoTerminal {
  /// How the program ended.
  enum Ending: Equatable {
    case status(CInt)
    case signal(CInt)
  }

  private var master: CInt
  /// Open here too, so that the terminal outlives the program.
  private let terminal: CInt
  private(set) var process: pid_t = 0
  private var ending: Ending?
  /// All that was shown, without carriage returns.
  private(set) var text = ""
  /// The modes before the program began.
  let modesBefore: [UInt8]

  /// Starts `heapctl watch`.
  convenience init(_ words: String..., rows: Int = 40, columns: Int = 120) throws {
    try self.init(
      program: [try Program.path("heapctl"), "watch"] + words, rows: rows, columns: columns)
  }

  /// Starts a program in a session of its own, of which this is the terminal.
  init(program words: [String], rows: Int = 40, columns: Int = 120) throws {
    var ends: (master: CInt, terminal: CInt) = (-1, -1)
    try #require(unsafe openpty(&ends.master, &ends.terminal, nil, nil, nil) == 0)
    (master, terminal) = ends
    modesBefore = Self.modes(of: ends.terminal)
    for end in [master, terminal] { try #require(fcntl(end, F_SETFD, FD_CLOEXEC) == 0) }
    try #require(fcntl(master, F_SETFL, O_NONBLOCK) == 0)
    try resize(rows: rows, columns: columns)
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    // POSIX_SPAWN_SETSID, which Swift does not see: hidden behind _GNU_SOURCE.
    unsafe posix_spawnattr_setflags(&attributes, 0x80)
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    // The first terminal that the leader of a session opens becomes the session's.
    let path = try FileManager.default.destinationOfSymbolicLink(
      atPath: "/proc/self/fd/\(terminal)")
    unsafe posix_spawn_file_actions_addopen(&actions, 0, path, O_RDWR, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, 0, 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, 0, 2)
    // On a terminal the backtracer of a debug build would ask what to do.
    let environment = ["TERM=xterm", "SWIFT_BACKTRACE=enable=no"]
    var arguments =
      unsafe (["/usr/bin/env"] + environment + words).map { unsafe strdup($0) } + [nil]
    defer {
      unsafe posix_spawn_file_actions_destroy(&actions)
      unsafe posix_spawnattr_destroy(&attributes)
      for index in unsafe arguments.indices { unsafe free(arguments[index]) }
    }
    let error = unsafe posix_spawn(
      &process, "/usr/bin/env", &actions, &attributes, &arguments, environ)
    try #require(error == 0)
  }

  deinit {
    if process > 0, ending == nil {
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
    }
    close(terminal)
    if master >= 0 { close(master) }
  }

  func resize(rows: Int, columns: Int) throws {
    var size = winsize(
      ws_row: UInt16(rows), ws_col: UInt16(columns), ws_xpixel: 0, ws_ypixel: 0)
    try #require(unsafe ioctl(master, UInt(TIOCSWINSZ), &size) == 0)
  }

  func type(_ text: String) throws {
    let bytes = Array(text.utf8)
    try #require(unsafe write(master, bytes, bytes.count) == bytes.count)
  }

  /// Whether it would take a write now.
  var hasRoom: Bool {
    var room = pollfd(fd: terminal, events: Int16(POLLOUT), revents: 0)
    return unsafe poll(&room, 1, 1000) == 1
  }

  // MARK: What is there

  /// The terminal's modes, byte for byte.
  var modes: [UInt8] { Self.modes(of: terminal) }

  private static func modes(of terminal: CInt) -> [UInt8] {
    var modes = termios()
    unsafe tcgetattr(terminal, &modes)
    return unsafe withUnsafeBytes(of: modes) { unsafe [UInt8]($0) }
  }

  /// As another program would that uses the terminal.
  func changeModes(_ change: (inout termios) -> Void) throws {
    var modes = termios()
    try #require(unsafe tcgetattr(terminal, &modes) == 0)
    change(&modes)
    try #require(unsafe tcsetattr(terminal, TCSANOW, &modes) == 0)
  }

  /// The lines of the last picture, as far as it has come, or of all where there is none.
  var lines: [String] {
    let picture = text.components(separatedBy: "\u{1b}[H").last ?? ""
    return picture.replacingOccurrences(of: "\u{1b}[K", with: "").components(separatedBy: "\n")
  }

  /// Whether the alternate screen is shown, without a cursor.
  var isTakenOver: Bool {
    isLast("\u{1b}[?1049h", "\u{1b}[?1049l") && isLast("\u{1b}[?25l", "\u{1b}[?25h")
  }

  /// Whether the main screen is shown, with a cursor and the modes of before.
  var isRestored: Bool {
    !isLast("\u{1b}[?1049h", "\u{1b}[?1049l") && !isLast("\u{1b}[?25l", "\u{1b}[?25h")
      && modes == modesBefore
  }

  private func isLast(_ one: String, _ other: String) -> Bool {
    guard let place = text.range(of: one, options: .backwards) else { return false }
    return !text[place.upperBound...].contains(other)
  }

  // MARK: Waiting

  struct NeverShown: Error, CustomStringConvertible {
    let description: String
  }

  /// Reads until it is so: within a minute.
  func wait(for what: String, _ isSo: (PseudoTerminal) throws -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while true {
      read()
      if try isSo(self) { return }
      guard ContinuousClock.now < deadline else {
        throw NeverShown(description: "never came: \(what); last shown:\n\(lines)")
      }
      var waited = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
      unsafe poll(&waited, 1, 20)
    }
  }

  func waitForLine(_ what: String) throws {
    try wait(for: what) { $0.lines.contains { $0.contains(what) } }
  }

  private func read() {
    var bytes = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = unsafe Glibc.read(master, &bytes, bytes.count)
      guard count > 0 else { return }
      text += String(decoding: bytes.prefix(count).filter { $0 != 13 }, as: UTF8.self)
    }
  }

  /// The line is cut.
  func hangUp() {
    close(master)
    master = -1
  }

  /// Waits for the program's end, and reads what it shows meanwhile.
  func end(isRead: Bool = true) -> Ending {
    var status: CInt = 0
    while unsafe waitpid(process, &status, WNOHANG) == 0 {
      if isRead { read() }
      usleep(1000)
    }
    read()
    let ending: Ending =
      status & 0x7f == 0 ? .status(status >> 8 & 0xff) : .signal(status & 0x7f)
    self.ending = ending
    return ending
  }
}
