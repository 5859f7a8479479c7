internal import CLinuxHeaps
internal import Glibc
internal import SystemPackage

/// The thread on which buffers are checked and reclaimed, and what wakes it.
final class ReclaimerThread: Sendable {
  enum Next {
    case sleep(until: MonotonicTime?)
    case end
  }

  private let thread = Guarded<pthread_t?>(nil)
  let wakeUp: WakeUp
  let closeEvents: CloseEvents

  init(_ core: ReclaimerCore) throws(Errno) {
    wakeUp = try WakeUp()
    closeEvents = try CloseEvents()
    let argument = unsafe Unmanaged.passRetained(Start(thread: self, core: core))
    var thread = pthread_t()
    let error = unsafe pthread_create(
      &thread, nil,
      { argument in
        let start = unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
        start.thread.run(start.core)
        return nil
      }, argument.toOpaque())
    if error != 0 {
      unsafe argument.release()
      throw Errno(rawValue: error)
    }
    pthread_detach(thread)
  }

  private final class Start {
    let thread: ReclaimerThread
    let core: ReclaimerCore

    init(thread: ReclaimerThread, core: ReclaimerCore) {
      self.thread = thread
      self.core = core
    }
  }

  /// Whether the caller runs on it.
  var isCurrent: Bool { thread.withLock { $0 } == pthread_self() }

  private func run(_ core: ReclaimerCore) {
    thread.withLock { $0 = pthread_self() }
    // Signals are the program's affair: they shall interrupt its own threads.
    var all = sigset_t()
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_SETMASK, &all, nil)
    unsafe CLinuxHeaps_name_this_thread("heap-reclaimer")

    var events: [CloseEvents.Watch]? = []
    while case .sleep(let until) = core.turn(events) {
      wait(until: until)
      wakeUp.clear()
      events = (try? closeEvents.read()) ?? nil
    }
  }

  private func wait(until: MonotonicTime?) {
    var descriptors = [
      pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: closeEvents.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    var milliseconds: CInt = -1
    if let until {
      let now = MonotonicTime.now
      // Rounded up: a turn too early finds nothing due and has to wait once more.
      let rest = until > now ? until.nanoseconds - now.nanoseconds + 999_999 : 0
      milliseconds = CInt(clamping: rest / 1_000_000)
    }
    unsafe poll(&descriptors, nfds_t(descriptors.count), milliseconds)
  }
}
