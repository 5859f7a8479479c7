internal import CLinuxHeaps
package import SystemPackage

/// Wakes a thread that waits in poll(2) (eventfd(2)).
package struct WakeUp: ~Copyable, Sendable {
  private let fd: OwnedFD

  package init() throws(Errno) {
    fd = OwnedFD(
      adopting: try call { eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK)) })
  }

  /// Readable when the thread was called.
  package var descriptor: CInt { fd.rawValue }

  package func signal() { eventfd_write(fd.rawValue, 1) }

  package func clear() {
    var value: eventfd_t = 0
    unsafe eventfd_read(fd.rawValue, &value)
  }
}
