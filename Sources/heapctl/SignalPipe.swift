internal import CLibrary
internal import LinuxHeaps
internal import Synchronization
internal import SystemPackage

/// Signals as something to wait for, so that what is shown or held is given back. One in a process.
///
/// By a pipe and a handler, not by signalfd(2): the library's threads would have to block the
/// signals too.
struct SignalPipe {
  /// Readable when a signal has come.
  ///
  /// Open as long as this process lives, as the handler's end is: a signal that comes late must not
  /// find a pipe without a reader (SIGPIPE).
  let descriptor: CInt

  /// Where the handler writes.
  private static let writer = Atomic<CInt>(-1)

  init(_ signals: [CInt] = [SIGINT, SIGTERM, SIGHUP]) throws(HeapError) {
    descriptor = try attempt("wait for signals") { () throws(Errno) in
      var ends: [CInt] = [-1, -1]
      _ = try call { unsafe pipe(&ends) }
      for end in ends {
        _ = try call { fcntl(end, F_SETFD, FD_CLOEXEC) }
        // A handler that waits for a full pipe would wait for ever.
        _ = try call { fcntl(end, F_SETFL, O_NONBLOCK) }
      }
      Self.writer.store(ends[1], ordering: .releasing)
      return ends[0]
    }
    for signal in signals { watch(for: signal) }
  }

  /// From now on the signal does nothing but arrive.
  private func watch(for signal: CInt) {
    var action = sigaction()
    action.handler = { signal in
      var byte = UInt8(truncatingIfNeeded: signal)
      let before = errno
      unsafe write(SignalPipe.writer.load(ordering: .acquiring), &byte, 1)
      errno = before
    }
    unsafe sigaction(signal, &action, nil)
  }

  /// Lets this process be stopped and ended by signals, also where it was started by a thread that blocks them, as those of
  /// libdispatch do: a mask is inherited (execve(2)).
  static func unblockAll() {
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe pthread_sigmask(SIG_SETMASK, &none, nil)
  }

  /// Does what the signal does by default, e.g. stop this process, and returns where that lets it live.
  func obey(_ signal: CInt) {
    var action = sigaction()
    action.handler = SIG_DFL
    unsafe sigaction(signal, &action, nil)
    raise(signal)
    watch(for: signal)
  }

  /// Does what the next that came does by default: a run that was cut short is no success, and a shell's loop ends too.
  func obeyNext() {
    if let signal = next() { obey(signal) }
  }

  /// The next that came; nil where none waits.
  func next() -> CInt? {
    var byte: UInt8 = 0
    let count = try? call { () -> Int in unsafe read(descriptor, &byte, 1) }
    return count == 1 ? CInt(byte) : nil
  }

  /// Waits until a signal has come, at most for that time. A signal that came before counts.
  ///
  /// - Returns: Whether one has come.
  @discardableResult
  func wait(for patience: Duration?) -> Bool {
    let deadline = patience.map { MonotonicTime.now.advanced(by: $0) }
    while true {
      var waited = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let ready = unsafe poll(&waited, 1, deadline?.millisecondsFromNow ?? -1)
      if ready >= 0 || errno != EINTR { return ready > 0 }
    }
  }

  /// Waits until a signal has come, or until that input has no more to read.
  func wait(forEndOf input: CInt) {
    while true {
      var waited = [
        pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
        pollfd(fd: input, events: Int16(POLLIN), revents: 0),
      ]
      if unsafe poll(&waited, 2, -1) < 0 && errno == EINTR { continue }
      if waited[0].revents != 0 { return }
      var byte: UInt8 = 0
      if unsafe read(input, &byte, 1) <= 0 { return }
    }
  }
}
