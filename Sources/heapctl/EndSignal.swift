internal import Glibc
internal import LinuxHeaps
internal import Synchronization
internal import SystemPackage

/// SIGINT, SIGTERM and SIGHUP as something to wait for, so that what is shown or held is given back.
///
/// By a pipe and a handler, not by signalfd(2): the library's threads would have to block the
/// signals too.
struct EndSignal {
  /// Open as long as this process lives, as the handler's end is: a signal that comes late must not
  /// find a pipe without a reader (SIGPIPE).
  private let reader: CInt

  /// Readable when a signal has come.
  var descriptor: CInt { reader }

  /// Where the handler writes.
  private static let writer = Atomic<CInt>(-1)

  init() throws(HeapError) {
    reader = try attempt("wait for signals") { () throws(Errno) in
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
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in
      var byte: UInt8 = 1
      let before = errno
      unsafe write(EndSignal.writer.load(ordering: .acquiring), &byte, 1)
      errno = before
    }
    for signal in [SIGINT, SIGTERM, SIGHUP] { unsafe sigaction(signal, &action, nil) }
  }

  /// Whether a signal has come.
  var hasCome: Bool {
    var waited = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&waited, 1, 0) > 0
  }

  /// Returns when a signal has come, or after that time. A signal that came before counts.
  func wait(for patience: Duration?) {
    let deadline = patience.map { ContinuousClock.now + $0 }
    while true {
      var timeout: CInt = -1
      if let deadline {
        let left = max(.zero, deadline - .now) / Duration.milliseconds(1)
        timeout = CInt(clamping: Int64(left.rounded(.up)))
      }
      var waited = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
      if unsafe poll(&waited, 1, timeout) >= 0 || errno != EINTR { return }
    }
  }
}
