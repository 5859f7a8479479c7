internal import CLibrary
internal import CLinuxHeaps
internal import SystemPackage

public import struct Swift.Duration

/// Notices when the last child of a buffer is gone and takes the buffer back, on one thread for all, or
/// where the last child was this process's on the thread that closed it.
///
/// A close in this process is noticed at once, and so is the close of a memfd anywhere. That another
/// process let go of a dma-buf the kernel tells nobody, so its reference count is read again: after
/// 1 ms at first, then after twice as long each time up to 64 ms, or up to what keeps all the reading
/// below one percent of a processor, by what a look was measured to cost here. While no buffer lives,
/// and while every live one has a holder in this process, the thread sleeps without a timer.
public final class Reclaimer: Sendable {
  /// How soon to look again for a dma-buf's holders in other processes.
  public struct Recheck: Hashable, Sendable {
    /// The first wait after a sign that something changed; at least 1 ms.
    public let first: Duration
    /// Where doubling the wait ends, unless there are very many buffers; at least `first`.
    public let longest: Duration

    public init(first: Duration = .milliseconds(1), longest: Duration = .milliseconds(64)) {
      // A day: nobody waits longer, and no sum of it and a clock overflows.
      self.first = min(max(first, .milliseconds(1)), .seconds(86_400))
      self.longest = min(max(longest, self.first), .seconds(86_400))
    }
  }

  /// What the thread did since it began.
  public struct Counters: Hashable, Sendable {
    /// Times that it woke from its wait.
    public var wakeups = 0
    /// Times that it asked the kernel whether one buffer has children.
    public var checks = 0
    /// Buffers taken back.
    public var reclaimed = 0
    /// Buffers with a child or not yet taken back.
    public var live = 0

    package init() {}
  }

  /// The one that heaps use unless they are given another.
  public static let shared = Reclaimer()

  let core: ReclaimerCore

  /// The thread starts with the first buffer. It ends after the last, once this value is gone.
  public init(recheck: Recheck = Recheck()) {
    core = ReclaimerCore(recheck)
  }

  /// Without a thread: the caller's loop waits until ``descriptor`` is readable and calls ``turn()``.
  ///
  /// Once this value is gone, the buffers that are left get a thread.
  ///
  /// - Throws: ``HeapError/Code/noResources`` where the process may open no more files: it takes four.
  public init(inCallersLoop recheck: Recheck) throws(HeapError) {
    core = ReclaimerCore(
      recheck,
      loop: try attempt("make a reclaimer") { () throws(Errno) in try ReclaimerLoop() })
  }

  deinit { core.finish() }

  /// Readable when ``turn()`` has something to do; nil where there is a thread. To be polled, and not read from.
  public var descriptor: CInt? { core.loop?.descriptor }

  /// Takes back what has ended, and runs its clean-up, on this thread; it waits for nothing. Where the reclaimer has a thread it
  /// does nothing.
  public func turn() {
    if let loop = core.loop { core.turn(in: loop) }
  }

  public var counters: Counters { core.counters }

  /// Looks at every buffer now: to be called when a peer hung up, a process ended, or a GEM handle
  /// was closed by other code in this process.
  public func recheckNow() { core.checkAll() }
}

/// What ends the wait of the thread that takes buffers back.
final class ReclaimerEvents: Sendable {
  let wakeUp: WakeUp
  let closes: CloseEvents

  init() throws(Errno) {
    let wakeUp = try WakeUp()
    let closes = try CloseEvents()
    self.wakeUp = wakeUp
    self.closes = closes
  }

  func wait(until moment: MonotonicTime?) {
    var descriptors = [
      pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: closes.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    let milliseconds = moment?.millisecondsFromNow ?? -1
    unsafe poll(&descriptors, nfds_t(descriptors.count), milliseconds)
  }
}

/// What a loop of the caller's waits for in place of the thread: one descriptor for the events and the clock (epoll(7)).
final class ReclaimerLoop: Sendable {
  let events: ReclaimerEvents
  private let timer: OwnedFD
  private let poller: OwnedFD

  init() throws(Errno) {
    let events = try ReclaimerEvents()
    let timer = OwnedFD(
      adopting: try call { timerfd_create(CLOCK_MONOTONIC, CInt(TFD_CLOEXEC | TFD_NONBLOCK)) })
    let poller = OwnedFD(adopting: try call { epoll_create1(CInt(EPOLL_CLOEXEC)) })
    let number = poller.rawValue
    for descriptor in [events.wakeUp.descriptor, events.closes.descriptor, timer.rawValue] {
      var event = unsafe epoll_event(events: bits(EPOLLIN), data: epoll_data_t())
      _ = try call { unsafe epoll_ctl(number, EPOLL_CTL_ADD, descriptor, &event) }
    }
    self.events = events
    self.timer = timer
    self.poller = poller
  }

  var descriptor: CInt { poller.rawValue }

  /// Nil for no time. What it was set to before is forgotten, also where it has passed (timerfd_settime(2)).
  func wake(at moment: MonotonicTime?) {
    var time = itimerspec()
    // 0 would be for no time.
    let nanoseconds = moment.map { max($0.nanoseconds, 1) } ?? 0
    time.it_value = timespec(
      tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    unsafe timerfd_settime(timer.rawValue, CInt(TFD_TIMER_ABSTIME), &time, nil)
  }
}
