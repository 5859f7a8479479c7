internal import Glibc
internal import SystemPackage

/// A thread that takes buffers back, for a reclaimer that nobody else drives.
enum ReclaimerThread {
  static func start(_ core: ReclaimerCore, _ events: ReclaimerEvents) throws(Errno) {
    try KernelThread.start("heap-reclaimer") {
      while case .sleep(let until) = core.turn() { wait(events, until: until) }
    }
  }

  private static func wait(_ events: ReclaimerEvents, until: MonotonicTime?) {
    var descriptors = [
      pollfd(fd: events.wakeUp.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: events.closes.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    let milliseconds = until?.millisecondsFromNow ?? -1
    unsafe poll(&descriptors, nfds_t(descriptors.count), milliseconds)
  }
}
