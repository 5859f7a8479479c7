internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// The terminal of this process, taken over: the alternate screen without a cursor, and keys as they are
/// pressed, not shown. Restored when this value ends.
struct Terminal: ~Copyable {
  private static let enter = "\u{1b}[?1049h\u{1b}[?25l"
  /// A terminal that has no alternate screen (the kernel's own) goes on below what was shown last.
  private static let leave = "\u{1b}[999;1H\r\n\u{1b}[?25h\u{1b}[?1049l"

  /// The modes that the shell had set.
  private let before: termios
  /// Does not wait for a terminal that does not read, so that signals are obeyed meanwhile.
  private let output: OwnedFD
  private let signals: SignalPipe

  private init(_ before: termios, _ output: consuming OwnedFD, _ signals: SignalPipe) {
    self.before = before
    self.output = output
    self.signals = signals
  }

  /// - Parameter signals: What ends the drawing of a picture early.
  static func takenOver(interruptedBy signals: SignalPipe) throws(HeapError) -> Terminal {
    var modes = termios()
    try attempt("read the terminal's modes") { () throws(Errno) in
      _ = try call { unsafe tcgetattr(STDIN_FILENO, &modes) }
    }
    let output = try attempt("open the terminal") { () throws(Errno) in try openOutput() }
    let terminal = Terminal(modes, output, signals)
    try terminal.take()
    return terminal
  }

  deinit { Self.restore(before, output) }

  /// Opened anew: O_NONBLOCK of standard output itself would be the shell's too. Standard output, where the
  /// terminal is another user's (su).
  private static func openOutput() throws(Errno) -> OwnedFD {
    do throws(Errno) {
      return try .open("/proc/self/fd/\(STDOUT_FILENO)", O_WRONLY | O_NONBLOCK | O_NOCTTY)
    } catch {
      return OwnedFD(adopting: try call { fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0) })
    }
  }

  /// Takes the terminal over, also after other programs have used it. In the background this stops the process
  /// (SIGTTOU).
  func take() throws(HeapError) {
    var modes = before
    // Ctrl-S stops nothing. What Ctrl-C, Ctrl-Z and Ctrl-\ send are signals still.
    modes.c_lflag &= ~tcflag_t(ICANON | ECHO | ECHONL | IEXTEN)
    modes.c_lflag |= tcflag_t(ISIG)
    modes.c_iflag &= ~tcflag_t(IXON)
    // A read never waits.
    unsafe withUnsafeMutableBytes(of: &modes.c_cc) {
      unsafe $0[Int(VMIN)] = 0
      unsafe $0[Int(VTIME)] = 0
    }
    try attempt("change the terminal's modes") { () throws(Errno) in
      _ = try call { unsafe tcsetattr(STDIN_FILENO, TCSANOW, &modes) }
    }
    _ = Self.write(ArraySlice(Self.enter.utf8), to: output)
  }

  /// Gives the terminal back, until it is taken again.
  func restore() { Self.restore(before, output) }

  private static func restore(_ before: termios, _ output: borrowing OwnedFD) {
    var before = before
    unsafe tcsetattr(STDIN_FILENO, TCSANOW, &before)
    // What a terminal that does not read has not read yet is dropped, which makes room.
    tcflush(STDOUT_FILENO, TCOFLUSH)
    _ = write(ArraySlice(leave.utf8), to: output)
  }

  /// Draws all, or, where a signal comes before the terminal has read it, a part: the next picture is a whole one.
  ///
  /// - Parameter lines: As many as the terminal has, none longer than its width.
  func draw(_ lines: [String]) {
    // Erased before it is written: in the last column EL would erase what was just written there.
    let text = "\u{1b}[H" + lines.map { "\u{1b}[K" + $0 }.joined(separator: "\r\n")
    var rest = ArraySlice(text.utf8)
    while !rest.isEmpty {
      var waited = [
        pollfd(fd: output.rawValue, events: Int16(POLLOUT), revents: 0),
        pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
      ]
      _ = unsafe poll(&waited, 2, -1)
      if waited[1].revents != 0 || waited[0].revents & Int16(POLLHUP | POLLERR) != 0 { return }
      rest = rest.dropFirst(Self.write(rest, to: output))
    }
  }

  /// - Returns: How many bytes the terminal took.
  private static func write(_ bytes: ArraySlice<UInt8>, to output: borrowing OwnedFD) -> Int {
    let number = output.rawValue
    return unsafe bytes.withUnsafeBytes {
      max(0, unsafe CLibrary.write(number, $0.baseAddress, $0.count))
    }
  }

  /// What was typed, with letters for the arrow and page keys (ECMA-48): `k`, `j`, `b` and `f`.
  func keys() -> String {
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = unsafe read(STDIN_FILENO, &bytes, bytes.count)
    var text = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    for (sequence, letter) in [("[A", "k"), ("[B", "j"), ("[5~", "b"), ("[6~", "f")] {
      while let parts = text.parted(at: "\u{1b}" + sequence) {
        text = parts.before + letter + parts.after
      }
    }
    return text
  }

  /// Serial lines report none, 0 by 0: then what terminals have had since the VT100.
  var size: (rows: Int, columns: Int) {
    var window = winsize()
    _ = unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &window)
    return (
      window.ws_row == 0 ? 24 : Int(window.ws_row), window.ws_col == 0 ? 80 : Int(window.ws_col)
    )
  }
}
