import CHeapClient
import Glibc
import LinuxHeaps
import SystemPackage

/// An epoll with a file in it, whose lock is held until this value ends. It is no reference to the file, whose last close waits.
final class HeldEpoll {
  private var holder: pid_t = -1

  init(_ file: SharedFD) throws {
    let error = unsafe CHeapClient_hold_epoll(file.fd.rawValue, &holder)
    if error != 0 { throw Errno(rawValue: error) }
  }

  /// As root a page's faults in the kernel can be left unserved, too.
  static var isPossible: Bool {
    unsafe access("/proc/sys/vm/unprivileged_userfaultfd", F_OK) == 0 && geteuid() == 0
  }

  func release() {
    if holder < 0 { return }
    kill(holder, SIGKILL)
    waitpid(holder, nil, 0)
    holder = -1
  }

  deinit { release() }
}
