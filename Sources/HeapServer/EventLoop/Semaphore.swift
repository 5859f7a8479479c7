internal import CLinuxHeaps
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Counts signals, and lets one waiter through for each (`EFD_SEMAPHORE`, eventfd(2)).
struct Semaphore: ~Copyable, Sendable {
  private let fd: OwnedFD

  init() throws(Errno) {
    fd = OwnedFD(adopting: try call { eventfd(0, CInt(EFD_CLOEXEC | EFD_SEMAPHORE)) })
  }

  func signal() { eventfd_write(fd.rawValue, 1) }

  func wait() {
    var value: eventfd_t = 0
    while unsafe eventfd_read(fd.rawValue, &value) != 0 {}
  }
}
