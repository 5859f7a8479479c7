internal import CLibrary

/// Nanoseconds of `CLOCK_MONOTONIC` (clock_gettime(2)).
package struct MonotonicTime: Hashable, Comparable, Sendable {
  package var nanoseconds: UInt64

  package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  package static var now: MonotonicTime { read(CLOCK_MONOTONIC) }

  /// The time of the last tick, up to 10 ms ago: no counter is read for it (clock_gettime(2), CLOCK_MONOTONIC_COARSE).
  package static var lastTick: MonotonicTime { read(CLOCK_MONOTONIC_COARSE) }

  private static func read(_ clock: clockid_t) -> MonotonicTime {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return MonotonicTime(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }

  /// The earlier of two moments, where there are two.
  package static func earlier(_ one: Self?, _ other: Self?) -> Self? {
    guard let one, let other else { return one ?? other }
    return min(one, other)
  }

  package static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }
}

extension MonotonicTime {
  /// As poll(2) and epoll_wait(2) take it; 0 for what is past.
  ///
  /// Rounded up: who wakes too early finds nothing due and has to wait once more.
  package var millisecondsFromNow: CInt {
    let now = MonotonicTime.now
    let rest = self > now ? nanoseconds - now.nanoseconds : 0
    return CInt(clamping: (rest + 999_999) / 1_000_000)
  }

  /// Itself for a negative duration, and the last there is for one that is too long.
  package func advanced(by duration: Duration) -> MonotonicTime {
    let sum = Int128(nanoseconds) + max(0, duration.attoseconds / 1_000_000_000)
    return MonotonicTime(nanoseconds: UInt64(clamping: sum))
  }
}
