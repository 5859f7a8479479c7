import CHeapClient
import Glibc
import LinuxHeaps
import SystemPackage
import TestSupport

/// A pipe's end whose last close waits until this value ends, and no signal ends that: another process has the pipe's lock.
final class HeldPipe {
  /// To be sent, and closed here at once: who closes last is the one who waits.
  var file: SharedFD?
  private var holder: pid_t = -1

  init() throws {
    let pipe = try OddFile.pipe()
    file = pipe.read
    let error = unsafe CHeapClient_hold_pipe(pipe.write.fd.rawValue, &holder)
    if error != 0 { throw Errno(rawValue: error) }
  }

  var isHeld: Bool { holder >= 0 }

  /// Its last close returns.
  func release() {
    if holder < 0 { return }
    kill(holder, SIGKILL)
    waitpid(holder, nil, 0)
    holder = -1
  }

  // Before the file, which this process may be the last to close.
  deinit { release() }
}
