import CHeapClient
import Glibc
import LinuxHeaps
import TestSupport

/// An epoll with a file in it, whose lock is held until this value ends. It is no reference to the file, whose last close waits.
final class HeldEpoll {
  private let holder: LockHolder

  init(_ file: SharedFD) throws {
    holder = try LockHolder { unsafe CHeapClient_hold_epoll(file.fd.rawValue, &$0) }
  }

  /// As root a page's faults in the kernel can be left unserved, too.
  static var isPossible: Bool {
    unsafe access("/proc/sys/vm/unprivileged_userfaultfd", F_OK) == 0 && geteuid() == 0
  }

  func release() { holder.release() }
}
