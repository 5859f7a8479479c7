internal import CLinuxHeaps
internal import SystemPackage

/// Wakes a thread that waits in poll(2) (eventfd(2)).
struct WakeUp: ~Copyable, Sendable {
  private let fd: OwnedFD

  init() throws(Errno) {
    fd = OwnedFD(
      adopting: try call { eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK)) })
  }

  /// Readable when the thread was called.
  var descriptor: CInt { fd.rawValue }

  func signal() { eventfd_write(fd.rawValue, 1) }

  func clear() {
    var value: eventfd_t = 0
    unsafe eventfd_read(fd.rawValue, &value)
  }
}
