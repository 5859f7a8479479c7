import CHeapClient
import LinuxHeaps
import TestSupport

/// A pipe's end whose last close waits until this value ends, and no signal ends that: another process has the pipe's lock.
final class HeldPipe {
  /// To be sent, and closed here at once: who closes last is the one who waits.
  var file: SharedFD?
  private let holder: LockHolder

  init() throws {
    let pipe = try OddFile.pipe()
    file = pipe.read
    holder = try LockHolder { unsafe CHeapClient_hold_pipe(pipe.write.fd.rawValue, &$0) }
  }

  var isHeld: Bool { holder.isHeld }

  /// Its last close returns.
  func release() { holder.release() }

  // Before the file, which this process may be the last to close.
  deinit { release() }
}
