internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// Tells when tasks of the machine wait for memory (Documentation/accounting/psi.rst).
final class MemoryPressure: Sendable {
  private let file: OwnedFD

  /// Nil where the kernel does not tell: it is built without PSI, or started with psi=0. Before Linux 6.5 it tells those alone who
  /// have CAP_SYS_RESOURCE.
  init?() {
    guard let file = try? OwnedFD.open("/proc/pressure/memory", O_RDWR | O_NONBLOCK) else {
      return nil
    }
    // A tenth of two seconds: windows of whole 2 s are for everybody, others for CAP_SYS_RESOURCE (Linux 6.5).
    let trigger = "some 200000 2000000"
    let length = unsafe trigger.withCString { unsafe write(file.rawValue, $0, strlen($0) + 1) }
    guard length > 0 else { return nil }
    self.file = file
  }

  /// Has POLLPRI for each event.
  var descriptor: CInt { file.rawValue }
}

/// What ends the wait of the pool's thread, and waits for it.
final class PoolEvents: Sendable {
  let wakeUp: WakeUp
  /// A signal for each who waits until what the thread has in hand is gone.
  let isGone: WakeUp
  private let pressure = MemoryPressure()

  init() throws(Errno) {
    wakeUp = try WakeUp()
    isGone = try WakeUp(isSemaphore: true)
  }

  var hearsOfPressure: Bool { pressure != nil }

  /// - Returns: Whether the machine is short of memory. Each event is told once.
  func wait(until moment: MonotonicTime?) -> Bool {
    var descriptors = [pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0)]
    if let pressure {
      descriptors.append(pollfd(fd: pressure.descriptor, events: Int16(POLLPRI), revents: 0))
    }
    unsafe poll(&descriptors, nfds_t(descriptors.count), moment?.millisecondsFromNow ?? -1)
    if descriptors[0].revents != 0 { wakeUp.clear() }
    return pressure != nil && descriptors[1].revents & Int16(POLLPRI) != 0
  }
}
