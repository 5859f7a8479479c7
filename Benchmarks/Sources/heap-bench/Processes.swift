internal import CHeapWire
internal import Glibc
internal import Processes

/// A process that this one started. It is killed and reaped when this value goes, and killed by the
/// kernel if this process ends first.
private struct Child: ~Copyable {
  let pid: pid_t
  /// Readable once it has ended.
  let pidfd: CInt

  /// - Parameters:
  ///   - command: The program's path, then its arguments.
  ///   - input: Its standard input; the streams stay the caller's.
  ///   - output: Its standard output.
  ///   - error: Its standard error.
  ///   - processor: The only one that it may use; nil for any.
  ///   - notifySocket: Where it tells that it is ready.
  init(
    _ command: [String], input: CInt, output: CInt, error: CInt = STDERR_FILENO, processor: CInt?,
    notifySocket: String? = nil
  ) throws(Failure) {
    var arguments = unsafe command.map { unsafe strdup($0) } + [nil]
    let socket = unsafe notifySocket.map { unsafe strdup($0) } ?? nil
    defer {
      unsafe arguments.forEach { unsafe free($0) }
      unsafe free(socket)
    }
    var start = unsafe Processes_Start(
      input: input, output: output, error: error, processor: processor ?? -1,
      notify_socket: socket)
    let path = command[0]
    pid = try check(unsafe Processes_spawn(path, &arguments, &start), "cannot start \(path)")
    pidfd = Processes_pidfd(pid)
    precondition(pidfd >= 0, "the kernel has pidfd_open since 5.3")
  }

  deinit {
    Glibc.kill(pid, SIGKILL)
    waitpid(pid, nil, 0)
    close(pidfd)
  }

  /// Waits a minute at most for it to end, which is to be with status 0.
  func waitForSuccess(_ name: String) throws(Failure) {
    guard wait(for: [pidfd], until: .now + .seconds(60)) != nil else {
      throw Failure("\(name) did not end within 60 s")
    }
    guard let end = end(), end == (true, 0) else { throw Failure("\(name) \(ending())") }
  }

  /// How a process ended that has: an exit status or a signal.
  func ending() -> String {
    guard let (isExit, status) = end() else { return "ended" }
    return isExit ? "ended with status \(status)" : "ended by signal \(status)"
  }

  private func end() -> (isExit: Bool, status: CInt)? {
    var information = unsafe siginfo_t()
    // Left to be reaped, so that the pid stays its own.
    let result = unsafe waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT)
    if result != 0 { return nil }
    let status = unsafe information._sifields._sigchld.si_status
    return unsafe (information.si_code == CInt(CLD_EXITED), status)
  }
}

/// Runs a program to its end, which is to be success.
///
/// - Parameters:
///   - command: What the shell would look up, then its arguments.
///   - name: A part of its log's name.
/// - Returns: What it said.
func output(
  of command: [String], _ name: String, in scratch: borrowing Scratch
) throws(Failure) -> String {
  let path = "\(scratch.path)/\(name).log"
  let nothing = try Descriptor.open("/dev/null", O_RDONLY)
  let log = try Descriptor.open(path, O_WRONLY | O_CREAT | O_APPEND)
  let child = try Child(
    ["/usr/bin/env"] + command, input: nothing.number, output: log.number, error: log.number,
    processor: 0)
  try child.waitForSuccess(command[0])
  return readText(path) ?? ""
}

/// A server that has said it is ready: heapd, the baseline, or any other with their options.
struct Server: ~Copyable {
  /// Where its heap is served.
  let socket: String
  /// From the moment before its process began until `READY=1` was received here.
  let startTime: Duration
  private let child: Child

  /// - Parameters:
  ///   - program: Its path.
  ///   - name: A part of file names; no two of one scratch directory may be the same.
  ///   - scratch: Where its sockets and its log are.
  ///   - options: Besides those that say what is served where.
  ///   - tool: A program that runs it, with its arguments.
  ///   - processor: The only processor that it may use; nil for any.
  init(
    _ program: String, _ name: String, in scratch: borrowing Scratch, options: [String] = [],
    under tool: [String] = [], on processor: CInt? = 0
  ) throws(Failure) {
    let socket = "\(scratch.path)/\(name)"
    let notifyPath = "\(socket).notify"
    let notify = Descriptor(
      adopting: try check(
        unsafe Wire_bind(notifyPath, CInt(SOCK_DGRAM.rawValue)), "cannot bind \(notifyPath)"))
    let nothing = try Descriptor.open("/dev/null", O_RDONLY)
    let output = try Descriptor.open("\(socket).log", O_WRONLY | O_CREAT | O_APPEND)
    let command =
      (tool.isEmpty ? [] : ["/usr/bin/env"] + tool)
      + [program, "--socket", socket, "--heap", "memfd"] + options
    let before = ContinuousClock.now
    let child = try Child(
      command, input: nothing.number, output: output.number, error: output.number,
      processor: processor, notifySocket: notifyPath)
    do throws(Failure) {
      startTime = try Self.waitUntilReady(child, notify) - before
    } catch {
      throw Failure("the server did not start: \(error): \(command.joined(separator: " "))")
    }
    self.child = child
    self.socket = socket
  }

  /// When it was heard to be ready.
  private static func waitUntilReady(
    _ child: borrowing Child, _ notify: borrowing Descriptor
  ) throws(Failure) -> ContinuousClock.Instant {
    let deadline = ContinuousClock.now + .seconds(30)
    while true {
      let readable = wait(for: [notify.number, child.pidfd], until: deadline)
      let now = ContinuousClock.now
      if readable == nil { throw Failure("no READY=1 for 30 s") }
      if readable != notify.number { throw Failure("it \(child.ending())") }
      let message = String(decoding: try notify.receive().bytes, as: UTF8.self)
      // It may tell of more, and earlier.
      if message.split(separator: "\n").contains("READY=1") { return now }
    }
  }

  /// Has it end, and waits for that.
  ///
  /// - Returns: What it and the tool that ran it said.
  func stop() throws(Failure) -> String {
    kill(child.pid, SIGTERM)
    try child.waitForSuccess("the server")
    return readText("\(socket).log") ?? ""
  }

  // MARK: What proc(5) tells of it

  /// Nanoseconds on a processor until now, by thread: the first word of `schedstat`.
  func processorTimes() throws(Failure) -> [String: UInt64] {
    try byThread { readText($0 + "/schedstat")?.split(separator: " ").first.flatMap { UInt64($0) } }
  }

  /// Times until now that a processor was given up or taken away, by thread.
  func switches() throws(Failure) -> [String: UInt64] {
    try byThread { thread in
      guard let status = readText(thread + "/status") else { return nil }
      return Self.line("voluntary_ctxt_switches", of: status).flatMap { voluntary in
        Self.line("nonvoluntary_ctxt_switches", of: status).map { voluntary + $0 }
      }
    }
  }

  func residentBytes() throws(Failure) -> UInt64 {
    guard let status = readText("/proc/\(child.pid)/status"),
      let kibibytes = Self.line("VmRSS", of: status)
    else { throw Failure("process \(child.pid) shows no VmRSS") }
    return kibibytes << 10
  }

  private func byThread(_ read: (String) -> UInt64?) throws(Failure) -> [String: UInt64] {
    var values: [String: UInt64] = [:]
    for task in names(in: "/proc/\(child.pid)/task") {
      values[task] = read("/proc/\(child.pid)/task/\(task)")
    }
    if values.isEmpty { throw Failure("process \(child.pid) has ended") }
    return values
  }

  private static func line(_ name: String, of status: String) -> UInt64? {
    for line in status.split(separator: "\n") where line.hasPrefix("\(name):") {
      return UInt64(
        line.dropFirst(name.utf8.count + 1).drop { !$0.isNumber }.prefix { $0.isNumber })
    }
    return nil
  }
}

/// How much the threads' counts grew. A thread that ended is not seen; one that began is,
/// also where it got the number of one that ended.
func increase(from before: [String: UInt64], to after: [String: UInt64]) -> UInt64 {
  after.reduce(0) { sum, thread in
    let earlier = before[thread.key] ?? 0
    return sum + (thread.value >= earlier ? thread.value - earlier : thread.value)
  }
}

/// A `load` or `remote` process, pinned to processor 0. Orders and answers are one message each.
struct Client: ~Copyable {
  private let child: Child
  private let control: Descriptor

  /// - Parameters:
  ///   - load: The program's path.
  ///   - arguments: The mode, the server's socket and what belongs to the mode.
  init(_ load: String, _ arguments: [String]) throws(Failure) {
    let ends = try Descriptor.pair()
    let near = Descriptor(adopting: ends.near)
    let far = Descriptor(adopting: ends.far)
    child = try Child(
      [load] + arguments, input: far.number, output: far.number, processor: 0)
    control = near
  }

  /// One that does the rounds that it is ordered to.
  init(of server: borrowing Server, _ program: String) throws(Failure) {
    try self.init(program, ["rounds", server.socket])
  }

  func order(_ text: String) throws(Failure) { try control.send(Array("\(text)\n".utf8)) }

  /// It can still answer.
  func endOrders() { shutdown(control.number, CInt(SHUT_WR)) }

  func kill() { Glibc.kill(child.pid, SIGKILL) }

  /// What it says next, with the descriptor that comes along. What went wrong it has said on
  /// standard error, which it shares with this process.
  func answer() throws(Failure) -> Descriptor.Message {
    guard control.waitToRead(until: .now + .seconds(60)) else {
      throw Failure("a client got no further within 60 s")
    }
    let message = try control.receive()
    if message.bytes.isEmpty { throw Failure("a client \(child.ending()), see above") }
    return message
  }

  func times(of order: String) throws(Failure) -> Times {
    try self.order(order)
    return Times(try answer())
  }

  /// Ends its orders: the times of all rounds but those of warm-ups.
  func totalTimes() throws(Failure) -> Times {
    endOrders()
    return Times(try answer())
  }
}

/// The times of rounds, as a client reports them, in nanoseconds.
struct Times {
  /// By name: `round.p50`, `allocate.p99`, ...
  private let figures: [Substring: Double]

  fileprivate init(_ message: Descriptor.Message) {
    let text = String(decoding: message.bytes, as: UTF8.self)
    let words = text.split { $0 == " " || $0 == "\n" }
    figures = Dictionary(
      words.compactMap { word in
        guard let equals = word.firstIndex(of: "="),
          let value = Double(word[word.index(after: equals)...])
        else { return nil }
        return (word[..<equals], value)
      }, uniquingKeysWith: { $1 })
  }

  func callAsFunction(_ name: Substring) throws(Failure) -> Double {
    guard let value = figures[name] else { throw Failure("a client's answer lacks \(name)") }
    return value
  }
}
