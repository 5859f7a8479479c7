internal import CLinuxHeaps
package import SystemPackage

/// Wakes threads (eventfd(2)): the one that waits in poll(2), or, as a semaphore, one in ``wait()`` for each
/// signal.
package struct WakeUp: ~Copyable, Sendable {
  private let fd: OwnedFD

  /// - Parameter isSemaphore: Signals are counted for ``wait()`` (`EFD_SEMAPHORE`), and not cleared.
  package init(isSemaphore: Bool = false) throws(Errno) {
    let flags = isSemaphore ? EFD_SEMAPHORE : EFD_NONBLOCK
    fd = OwnedFD(adopting: try call { eventfd(0, CInt(EFD_CLOEXEC | flags)) })
  }

  /// Readable when the thread was called.
  package var descriptor: CInt { fd.rawValue }

  package func signal() { eventfd_write(fd.rawValue, 1) }

  package func clear() {
    var value: eventfd_t = 0
    unsafe eventfd_read(fd.rawValue, &value)
  }

  /// Of a semaphore: returns once for each signal.
  package func wait() {
    var value: eventfd_t = 0
    while unsafe eventfd_read(fd.rawValue, &value) != 0 {}
  }
}
