internal import LinuxHeaps

/// Keeps the refusals of one connection, or of one user, from filling the log: a line a second at most,
/// which says how many more there were.
struct RefusalLog {
  private var next = MonotonicTime(nanoseconds: 0)
  private var suppressed = 0

  mutating func note(_ write: (_ suppressed: Int) -> Void) {
    let now = MonotonicTime.now
    guard now >= next else {
      suppressed += 1
      return
    }
    write(suppressed)
    suppressed = 0
    next = MonotonicTime(nanoseconds: now.nanoseconds + 1_000_000_000)
  }
}
