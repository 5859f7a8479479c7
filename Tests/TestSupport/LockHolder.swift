package import Glibc
import SystemPackage

/// A process that has a lock of the kernel's until it is released, or this value ends.
package final class LockHolder {
  private var process: pid_t = -1

  /// - Parameter start: Makes the process, and answers 0 or an errno.
  package init(_ start: (inout pid_t) -> CInt) throws {
    let error = start(&process)
    if error != 0 { throw Errno(rawValue: error) }
  }

  package var isHeld: Bool { process >= 0 }

  package func release() {
    if process < 0 { return }
    kill(process, SIGKILL)
    waitpid(process, nil, 0)
    process = -1
  }

  deinit { release() }
}
