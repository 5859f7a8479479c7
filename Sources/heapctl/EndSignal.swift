internal import Glibc
internal import LinuxHeaps

/// SIGINT, SIGTERM and SIGHUP as something to wait for, so that what is shown or held is given back.
struct EndSignal {
  private let signals: SignalPipe

  /// Readable when a signal has come.
  var descriptor: CInt { signals.descriptor }

  init() throws(HeapError) { signals = try SignalPipe([SIGINT, SIGTERM, SIGHUP]) }

  /// Whether a signal has come.
  var hasCome: Bool {
    var waited = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&waited, 1, 0) > 0
  }

  /// Returns when a signal has come, or after that time. A signal that came before counts.
  func wait(for patience: Duration?) {
    let deadline = patience.map { MonotonicTime.now.advanced(by: $0) }
    while true {
      let timeout = deadline?.millisecondsFromNow ?? -1
      var waited = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      if unsafe poll(&waited, 1, timeout) >= 0 || errno != EINTR { return }
    }
  }

  /// Returns when a signal has come, or when that input has no more to read.
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
