internal import CTerminal
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// The terminal, taken over: a screen of its own without a cursor, keys as they are pressed and not
/// shown. As it was before when this value goes.
struct Terminal: ~Copyable {
  /// The alternate screen; the cursor is hidden.
  private static let enter = "\u{1b}[?1049h\u{1b}[?25l"
  /// A terminal that has no alternate screen (the kernel's own) goes on below what was shown last.
  private static let leave = "\u{1b}[0m\u{1b}[999;1H\r\n\u{1b}[?25h\u{1b}[?1049l"

  private let guardian: TerminalGuardian
  /// Does not wait for a terminal that does not read, so that signals are obeyed meanwhile.
  private let output: OwnedFD
  private var modes: CTerminal_modes

  private init(
    _ modes: CTerminal_modes, _ guardian: consuming TerminalGuardian, _ output: consuming OwnedFD
  ) {
    self.modes = modes
    self.guardian = guardian
    self.output = output
  }

  static func takenOver() throws(HeapError) -> Terminal {
    let modes = try findModes()
    let output = try attempt("open the terminal") { () throws(Errno) in try openOutput() }
    let terminal = Terminal(modes, try TerminalGuardian(leave: leave), output)
    try terminal.retake()
    return terminal
  }

  /// Opened anew: O_NONBLOCK of standard output itself would be the shell's too. Standard output, where the
  /// terminal is another user's (su).
  private static func openOutput() throws(Errno) -> OwnedFD {
    do throws(Errno) {
      return try .open("/proc/self/fd/\(STDOUT_FILENO)", O_WRONLY | O_NONBLOCK | O_NOCTTY)
    } catch {
      return OwnedFD(adopting: try call { fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0) })
    }
  }

  deinit { Self.giveBack(modes, guardian, output) }

  /// Takes the terminal over as it is now.
  mutating func take() throws(HeapError) {
    modes = try Self.findModes()
    try retake()
  }

  private static func findModes() throws(HeapError) -> CTerminal_modes {
    try attempt("read the terminal's modes") { () throws(Errno) in
      var before = termios()
      _ = try call { unsafe tcgetattr(STDIN_FILENO, &before) }
      return CTerminal_modes(before: before, taken: before.withoutLines)
    }
  }

  /// Takes it over once more, after others may have used it.
  func retake() throws(HeapError) {
    try attempt("change the terminal's modes") { () throws(Errno) in
      // In the background this stops (SIGTTOU), before the guardian knows of anything to give back.
      try set(modes.before)
      guardian.note(modes)
      try set(modes.taken)
    }
    Self.put(Self.enter, to: output)
  }

  private func set(_ modes: termios) throws(Errno) {
    var modes = modes
    _ = try call { unsafe tcsetattr(STDIN_FILENO, TCSANOW, &modes) }
  }

  /// As it was, until it is taken again.
  func giveBack() { Self.giveBack(modes, guardian, output) }

  private static func giveBack(
    _ modes: CTerminal_modes, _ guardian: borrowing TerminalGuardian, _ output: borrowing OwnedFD
  ) {
    var before = modes.before
    unsafe tcsetattr(STDIN_FILENO, TCSANOW, &before)
    put(leave, to: output)
    guardian.noteGivenBack()
  }

  /// All of it, or, where the terminal has not read for a second, a part.
  private static func put(_ text: String, to output: borrowing OwnedFD) {
    var rest = ArraySlice(text.utf8)
    while !rest.isEmpty {
      var waited = pollfd(fd: output.rawValue, events: Int16(POLLOUT), revents: 0)
      if unsafe poll(&waited, 1, 1000) == 0 { return }
      // What is hung up takes nothing any more, and says that it can.
      if waited.revents & Int16(POLLHUP | POLLERR) != 0 { return }
      rest = rest.dropFirst(write(rest, to: output))
    }
  }

  /// How many bytes the terminal took.
  func write(_ bytes: ArraySlice<UInt8>) -> Int { Self.write(bytes, to: output) }

  private static func write(_ bytes: ArraySlice<UInt8>, to output: borrowing OwnedFD) -> Int {
    let number = output.rawValue
    return unsafe bytes.withUnsafeBytes {
      max(0, unsafe Glibc.write(number, $0.baseAddress, $0.count))
    }
  }

  /// Ready for poll(2) when it takes more.
  var outputDescriptor: CInt { output.rawValue }

  /// What was typed; never waits.
  func read() -> [UInt8] {
    let capacity = 256
    return unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, filled in
      filled = max(0, unsafe Glibc.read(STDIN_FILENO, buffer.baseAddress, capacity))
    }
  }

  /// Serial lines tell no size: 0 by 0.
  var size: ScreenSize {
    var window = winsize()
    guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &window) == 0 else { return ScreenSize() }
    return ScreenSize(rows: Int(window.ws_row), columns: Int(window.ws_col))
  }
}

struct ScreenSize: Equatable {
  let rows: Int
  let columns: Int

  /// What is 0 becomes what terminals have had since the VT100.
  init(rows: Int = 0, columns: Int = 0) {
    self.rows = rows == 0 ? 24 : rows
    self.columns = columns == 0 ? 80 : columns
  }
}

extension termios {
  /// Bytes as they come, not shown; Ctrl-S stops nothing. What Ctrl-C, Ctrl-Z and Ctrl-\ send are signals
  /// still.
  fileprivate var withoutLines: termios {
    var modes = self
    modes.c_lflag &= ~tcflag_t(ICANON | ECHO | ECHONL | IEXTEN)
    modes.c_lflag |= tcflag_t(ISIG)
    modes.c_iflag &= ~tcflag_t(IXON)
    unsafe withUnsafeMutableBytes(of: &modes.c_cc) {
      unsafe $0[Int(VMIN)] = 0
      unsafe $0[Int(VTIME)] = 0
    }
    return modes
  }
}
