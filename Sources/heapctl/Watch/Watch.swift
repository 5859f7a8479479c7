internal import ArgumentParser
internal import Glibc
internal import LinuxHeaps

struct Watch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the buffers and who holds them, live, on the whole terminal.",
    discussion: """
      Above the buffers stand the memory pressure that the kernel tells (PSI) and a line for each \
      heap with the history of its bytes. Keys: q ends, ? shows the others. The terminal is \
      given back as it was, also after Ctrl-C, Ctrl-Z and SIGKILL.
      """)

  @Option(help: ArgumentHelp("Only the buffers that this process holds.", valueName: "process"))
  var pid: Int32?

  @Option(
    help: ArgumentHelp(
      "By what to sort: \(BufferOrder.allCases.map(\.rawValue).joined(separator: ", ")).",
      valueName: "column"))
  var sort = BufferOrder.size

  @Option(help: ArgumentHelp("Time from one look to the next.", valueName: "seconds"))
  var interval = 1.0

  @OptionGroup var color: ColorChoice

  func validate() throws {
    guard (0.1...86_400).contains(interval) else {
      throw ValidationError("--interval is from 0.1 to 86400 seconds")
    }
  }

  func run() async throws { try await reporting { try watch() } }

  private func watch() throws {
    try expectTerminal()
    if let pid { try HoldersCommand.expectVisible(pid) }
    var session = try WatchSession(process: pid, order: sort, interval: interval)
    try session.run()
  }

  private func expectTerminal() throws {
    guard isatty(STDOUT_FILENO) == 1 else {
      try refuse("standard output is no terminal")
    }
    guard StandardStream.output.isTerminal else {
      try refuse("the terminal cannot move its cursor (TERM=dumb)")
    }
    guard isatty(STDIN_FILENO) == 1 else {
      try refuse("standard input is no terminal, so no key can come from it")
    }
  }

  private func refuse(_ cause: String) throws -> Never {
    tell(
      "\("heapctl:".painted(.bad, on: .error)) watch the buffers: \(cause). To fix it: run it in a "
        + "terminal, or print them once: heapctl holders")
    throw Ending.wrongUsage
  }
}
