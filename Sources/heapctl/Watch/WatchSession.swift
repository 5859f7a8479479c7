internal import Glibc
internal import HeapReport
internal import LinuxHeaps

/// The view from its first picture to its end.
struct WatchSession {
  private let process: pid_t?
  /// Nanoseconds.
  private let interval: UInt64
  private let machine = Self.machineName()
  private let glyphs = Glyphs()
  private let hasColors = StandardStream.output.hasColors
  private let signals: SignalPipe

  private var view: WatchView
  private var snapshot: Snapshot
  private var history = HeapHistory()
  private var keys = KeyParser()
  private var screen = Screen()
  /// What the terminal has not taken yet.
  private var unsent: ArraySlice<UInt8> = []
  private var due = MonotonicTime.now

  init(process: pid_t?, order: BufferOrder, interval: Double) throws(HeapError) {
    self.process = process
    self.interval = UInt64(interval * 1e9)
    view = WatchView(order: order)
    signals = try SignalPipe([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH])
    let start = MonotonicTime.now
    snapshot = Snapshot.take(heldBy: process)
    note(since: start)
  }

  private enum Ending {
    case end, quit
  }

  /// Returns when a person or a signal has ended it, with the terminal as it was.
  mutating func run() throws(HeapError) {
    SignalPipe.unblockAll()
    // SIGQUIT asks for more than an orderly end; it is obeyed when the terminal is given back.
    if try watch() == .quit { signals.obey(SIGQUIT) }
  }

  private mutating func watch() throws(HeapError) -> Ending {
    var terminal = try Terminal.takenOver()
    var isOld = true
    while true {
      if !view.isPaused, due <= .now {
        let start = MonotonicTime.now
        snapshot = Snapshot.take(heldBy: process)
        note(since: start)
        isOld = true
      }
      send(to: terminal)
      if isOld, unsent.isEmpty {
        draw(on: terminal)
        send(to: terminal)
        isOld = false
      }
      let wake = wait(for: terminal)
      if wake == .gone { return .end }
      while let signal = signals.next() {
        isOld = true
        if let end = try obey(signal, &terminal) { return end }
      }
      for action in press(wake == .timeUp ? [] : terminal.read(), isLast: wake == .timeUp) {
        if action == .end { return .end }
        if action == .drawAnew { forgetScreen() }
        isOld = isOld || action != .none
      }
    }
  }

  /// Adds the snapshot, which was begun then, to the history; and when the next one is due.
  private mutating func note(since start: MonotonicTime) {
    history.note(
      Dictionary(uniqueKeysWithValues: snapshot.heaps.map { ($0.name, $0.bytes) }))
    // Looking into every process can take longer than the interval: half of the time is left to others.
    let now = MonotonicTime.now.nanoseconds
    due = MonotonicTime(
      nanoseconds: max(start.nanoseconds + interval, now + (now - start.nanoseconds)))
  }

  private mutating func draw(on terminal: borrowing Terminal) {
    let size = terminal.size
    let frame = WatchFrame(
      snapshot, history, machine: machine, view: &view, size: size, glyphs: glyphs)
    unsent = ArraySlice(screen.update(frame.lines, size, hasColors: hasColors).utf8)
  }

  private mutating func send(to terminal: borrowing Terminal) {
    if !unsent.isEmpty { unsent = unsent.dropFirst(terminal.write(unsent)) }
  }

  /// Makes the next picture a whole one: nobody knows what the terminal shows.
  private mutating func forgetScreen() {
    screen.forget()
    unsent = []
  }

  private enum Wake {
    case ready, timeUp, gone
  }

  /// Sleeps until a key, a signal or the next sample, or until the terminal takes what is unsent.
  private func wait(for terminal: borrowing Terminal) -> Wake {
    // The rest of a key's bytes comes at once, also over a slow line.
    let patience: CInt =
      keys.isUndecided ? 50 : view.isPaused ? -1 : due.millisecondsFromNow
    var waited = [
      pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0),
      pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(
        fd: unsent.isEmpty ? -1 : terminal.outputDescriptor, events: Int16(POLLOUT), revents: 0),
    ]
    switch unsafe poll(&waited, 3, patience) {
    case 0: return .timeUp
    // A signal came in between, and stands in the pipe.
    case -1: return .ready
    default: return waited[0].revents & Int16(POLLHUP | POLLERR | POLLNVAL) == 0 ? .ready : .gone
    }
  }

  /// - Parameter isLast: Whether no more bytes follow those that came before.
  private mutating func press(_ bytes: [UInt8], isLast: Bool) -> [WatchView.Action] {
    let pressed = isLast ? [keys.decide()].compactMap { $0 } : keys.keys(bytes)
    return pressed.map { view.press($0) }
  }

  /// Nil where the view goes on.
  private mutating func obey(_ signal: CInt, _ terminal: inout Terminal) throws(HeapError)
    -> Ending?
  {
    switch signal {
    case SIGWINCH: break
    case SIGTSTP:
      terminal.giveBack()
      signals.obey(SIGTSTP)
      try terminal.take()
      forgetScreen()
    case SIGCONT:
      // After SIGSTOP, of which nobody is told before.
      try terminal.retake()
      forgetScreen()
    case SIGQUIT: return .quit
    default: return .end
    }
    return nil
  }

  private static func machineName() -> String {
    let name = (try? SmallFile.read("/proc/sys/kernel/hostname")) ?? ""
    let parts = [String(name.prefix { $0 != "\n" }), Report.Machine.readModel() ?? ""]
    return (parts.filter { !$0.isEmpty } + ["Linux \(kernelRelease)"]).joined(separator: ", ")
  }
}
