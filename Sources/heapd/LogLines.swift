internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// Lines for standard error, written by a thread of their own: where their reader stalls, or is gone, the server goes on.
///
/// What finds no room is left out, and the next line is preceded by how many.
final class LogLines: TextOutputStream, Sendable {
  private struct State {
    var lines: [String] = []
    var leftOut = 0
    /// The thread has a line that is not written yet.
    var isWriting = false
    var hasThread = false
  }

  /// Lines that wait: more than a start or a stop has.
  private static let most = 1000
  private let state = Guarded(State())
  private let calls: WakeUp

  init() throws(HeapError) {
    calls = try attempt("start the log") { () throws(Errno) in try WakeUp(isSemaphore: true) }
  }

  /// Starts the thread; until then lines wait. Once the process has given up rights that each thread has for itself.
  func start() throws(HeapError) {
    state.withLock { $0.hasThread = true }
    try attempt("start the log") { () throws(Errno) in
      try KernelThread.start("heapd-log") { [self] in
        while true {
          while let line = next() { Self.write(line) }
          calls.wait()
        }
      }
    }
  }

  func write(_ line: String) {
    let isCalled = state.withLock { state in
      if state.lines.count >= Self.most {
        state.leftOut += 1
        return false
      }
      if state.leftOut > 0 {
        state.lines.append("heapd: \(state.leftOut) lines left out: nobody read the log\n")
        state.leftOut = 0
      }
      state.lines.append(line)
      return true
    }
    if isCalled { calls.signal() }
  }

  private func next() -> String? {
    state.withLock { state in
      state.isWriting = !state.lines.isEmpty
      return state.isWriting ? state.lines.removeFirst() : nil
    }
  }

  /// With what a client chose in it: a line feed would begin a line of the client's own, an emergency where `<0>` follows
  /// (sd-daemon(3)).
  private static func write(_ line: String) {
    let text = line.utf8.last == UInt8(ascii: "\n") ? line.utf8.dropLast() : line.utf8[...]
    let bytes = Array((String(Substring(text)).visible + "\n").utf8)
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes {
        unsafe CLibrary.write(STDERR_FILENO, $0.baseAddress, $0.count)
      }
      if count < 0 && errno == EINTR { continue }
      // Its reader is gone, or its disk is full: the line is lost.
      if count <= 0 { return }
      rest = rest.dropFirst(count)
    }
  }

  /// At the end of the process: waits for what can be written soon.
  func finish() {
    guard state.withLock({ $0.hasThread }) else {
      while let line = next() { Self.write(line) }
      return
    }
    for _ in 0..<100 {
      if state.withLock({ $0.lines.isEmpty && !$0.isWriting }) { return }
      usleep(5_000)
    }
  }
}
