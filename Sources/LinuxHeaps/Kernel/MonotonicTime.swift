internal import Glibc

/// Nanoseconds of `CLOCK_MONOTONIC` (clock_gettime(2)).
struct MonotonicTime: Comparable, Sendable {
  var nanoseconds: UInt64

  static var now: MonotonicTime {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return MonotonicTime(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
  }

  static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }
}
