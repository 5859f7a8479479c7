internal import ArgumentParser
internal import CLibrary
internal import LinuxHeaps

struct Watch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the buffers and their holders live, full screen.",
    discussion: """
      Above the buffers are the memory pressure that the kernel reports (PSI) and the history of each \
      heap's bytes. Keys: q quits, space pauses, s sorts by another figure, the arrow and page keys scroll. \
      The terminal is restored on exit, also after Ctrl-C, Ctrl-Z, SIGTERM and SIGHUP. After SIGKILL it \
      cannot be: type reset.
      """)

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Only the buffers that this process holds.", valueName: "process"))
  var pid: ProcessID?

  @Option(
    help: ArgumentHelp(
      "Sort by \(BufferOrder.allCases.map(\.rawValue).joined(separator: ", ")).",
      valueName: "figure"))
  var sort = BufferOrder.size

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Time between updates.", valueName: "seconds"))
  var interval = 1.0

  @OptionGroup var color: ColorChoice

  func validate() throws {
    guard (0.1...86_400).contains(interval) else {
      throw ValidationError("--interval is from 0.1 to 86400 seconds")
    }
  }

  func run() async throws {
    try expectTerminal()
    if let pid { try HoldersCommand.expectVisible(pid.number) }
    let signals = try SignalPipe([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH])
    var view = WatchView(process: pid?.number, order: sort)
    let terminal = try Terminal.takenOver(interruptedBy: signals)
    var due = MonotonicTime.now
    while true {
      if !view.isPaused, due <= .now {
        let start = MonotonicTime.now
        view.look()
        // Looking into every process can take longer than the interval: half of the time is left to
        // others.
        due = max(
          start.advanced(by: .seconds(interval)),
          MonotonicTime(nanoseconds: 2 * MonotonicTime.now.nanoseconds - start.nanoseconds))
      }
      terminal.draw(view.lines(on: terminal.size))
      var waited = [
        pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0),
        pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
      ]
      _ = unsafe poll(&waited, 2, view.isPaused ? -1 : due.millisecondsFromNow)
      while let signal = signals.next() {
        switch signal {
        case SIGWINCH: break
        // After SIGSTOP, which no process is told of before. That the terminal has gone shows in poll(2).
        case SIGCONT: try? terminal.take()
        case SIGTSTP, SIGQUIT:
          terminal.restore()
          signals.obey(signal)
          try terminal.take()
        default: return
        }
      }
      // The terminal has hung up.
      if waited[0].revents & Int16(POLLHUP | POLLERR | POLLNVAL) != 0 { return }
      for key in waited[0].revents == 0 ? "" : terminal.keys() {
        if key == "q" { return }
        view.press(key)
      }
    }
  }

  private func expectTerminal() throws {
    let cause: String
    if isatty(STDOUT_FILENO) != 1 {
      cause = "standard output is not a terminal"
    } else if !StandardStream.output.isTerminal {
      cause = "the terminal cannot move its cursor (TERM=dumb)"
    } else if isatty(STDIN_FILENO) != 1 {
      cause = "standard input is not a terminal, so no key can come from it"
    } else {
      return
    }
    complain(
      "watch the buffers: \(cause). To fix it: run it in a terminal, or print them once: heapctl holders"
    )
    throw ExitCode(.wrongUsage)
  }
}
