internal import Glibc
internal import Processes

/// A process that this one started. It is killed and reaped when this value goes, and killed by the
/// kernel if this process ends first.
struct Child: ~Copyable {
  let pid: pid_t
  private let pidfd: CInt

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

  /// Readable once it has ended.
  var endDescriptor: CInt { pidfd }

  func kill() { Glibc.kill(pid, SIGKILL) }

  /// How a process ended that has: an exit status or a signal.
  func ending() -> String {
    var information = unsafe siginfo_t()
    // Left to be reaped, so that the pid stays its own.
    let result = unsafe waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT)
    if result != 0 { return "ended" }
    let status = unsafe information._sifields._sigchld.si_status
    return unsafe information.si_code == CInt(CLD_EXITED)
      ? "ended with status \(status)" : "ended by signal \(status)"
  }
}
