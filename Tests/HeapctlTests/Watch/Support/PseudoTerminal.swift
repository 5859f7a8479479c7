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
  private let path: String
  private(set) var screen: EmulatedScreen
  private(set) var process: pid_t = 0
  private var isReaped = false

  init(rows: Int = 40, columns: Int = 120) throws {
    screen = EmulatedScreen(rows: rows, columns: columns)
    var ends: (master: CInt, terminal: CInt) = (-1, -1)
    try #require(unsafe openpty(&ends.master, &ends.terminal, nil, nil, nil) == 0)
    (master, terminal) = ends
    for end in [master, terminal] { try #require(fcntl(end, F_SETFD, FD_CLOEXEC) == 0) }
    try #require(fcntl(master, F_SETFL, O_NONBLOCK) == 0)
    path = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(terminal)")
    try resize(rows: rows, columns: columns)
  }

  deinit {
    if process > 0, !isReaped {
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
    }
    close(terminal)
    if master >= 0 { close(master) }
  }

  /// Starts the heapctl that was built beside this test.
  func start(
    _ words: String..., through prefix: [String] = [], environment: [String: String] = [:]
  ) throws {
    try start(prefix + [try Program.path("heapctl")] + words, environment: environment)
  }

  /// Starts a program in a session of its own, of which this is the terminal.
  func start(_ words: [String], environment more: [String: String] = [:]) throws {
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    // POSIX_SPAWN_SETSID, which Swift does not see: hidden behind _GNU_SOURCE.
    unsafe posix_spawnattr_setflags(&attributes, 0x80)
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    // The first terminal that the leader of a session opens becomes the session's.
    unsafe posix_spawn_file_actions_addopen(&actions, 0, path, O_RDWR, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, 0, 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, 0, 2)
    defer {
      unsafe posix_spawn_file_actions_destroy(&actions)
      unsafe posix_spawnattr_destroy(&attributes)
    }
    var environment = ProcessInfo.processInfo.environment
    environment["NO_COLOR"] = nil
    // On a terminal the backtracer of a debug build would ask what to do.
    environment["SWIFT_BACKTRACE"] = "enable=no"
    for (name, value) in ["TERM": "xterm", "LC_ALL": "C.UTF-8"].merging(
      more, uniquingKeysWith: { $1 })
    {
      environment[name] = value
    }
    var arguments = unsafe words.map { unsafe strdup($0) } + [nil]
    var variables = unsafe environment.map { unsafe strdup("\($0)=\($1)") } + [nil]
    defer {
      for index in unsafe arguments.indices { unsafe free(arguments[index]) }
      for index in unsafe variables.indices { unsafe free(variables[index]) }
    }
    let error = unsafe posix_spawn(
      &process, words[0], &actions, &attributes, &arguments, &variables)
    try #require(error == 0)
  }

  func resize(rows: Int, columns: Int) throws {
    var size = winsize(
      ws_row: UInt16(rows), ws_col: UInt16(columns), ws_xpixel: 0, ws_ypixel: 0)
    try #require(unsafe ioctl(master, UInt(TIOCSWINSZ), &size) == 0)
    screen.resize(rows: rows, columns: columns)
  }

  func type(_ text: String) throws {
    let bytes = Array(text.utf8)
    try #require(unsafe write(master, bytes, bytes.count) == bytes.count)
  }

  /// What the program's terminal shows before the program does.
  func show(_ text: String) throws {
    let bytes = Array(text.utf8)
    try #require(unsafe write(terminal, bytes, bytes.count) == bytes.count)
  }

  /// The terminal's modes, byte for byte.
  var modes: [UInt8] {
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

  struct NeverShown: Error, CustomStringConvertible {
    let description: String
  }

  /// Reads until the screen is as it is to be: within a minute.
  func wait(for what: String, _ isSo: (EmulatedScreen) throws -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while true {
      read()
      if try isSo(screen) { break }
      guard ContinuousClock.now < deadline else {
        throw NeverShown(
          description: "never came: \(what); last shown:\n\(screen.lines.joined(separator: "\n"))")
      }
      var waited = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
      unsafe poll(&waited, 1, 20)
    }
    #expect(screen.unknown == [])
  }

  func waitForLine(_ what: String) throws {
    try wait(for: what) { $0.lines.contains { $0.contains(what) } }
  }

  /// What has been written since.
  func read() {
    var bytes = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = unsafe Glibc.read(master, &bytes, bytes.count)
      guard count > 0 else { return }
      screen.take(Array(bytes.prefix(count)))
    }
  }

  /// The line is cut; returns when the program has ended.
  func hangUp() -> Ending {
    close(master)
    master = -1
    var status: CInt = 0
    unsafe waitpid(process, &status, 0)
    isReaped = true
    return Self.ending(status)
  }

  /// What programs write to.
  var output: CInt { terminal }

  /// Waits for the program's end, and reads what it shows meanwhile.
  func end(isRead: Bool = true) throws -> Ending {
    var status: CInt = 0
    while unsafe waitpid(process, &status, WNOHANG) == 0 {
      if isRead { read() }
      usleep(1000)
    }
    isReaped = true
    return Self.ending(status)
  }

  private static func ending(_ status: CInt) -> Ending {
    status & 0x7f == 0 ? .status(status >> 8 & 0xff) : .signal(status & 0x7f)
  }
}
