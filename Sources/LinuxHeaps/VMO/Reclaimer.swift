internal import Glibc
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

  deinit { core.finish() }

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
