internal import LinuxHeaps

/// What is to be done at which time, unless it is cancelled before.
struct Deadlines<Key: Hashable> {
  private var moments: [Key: MonotonicTime] = [:]

  /// No deadline is before it; what it was of may be cancelled.
  private(set) var next: MonotonicTime?

  mutating func set(_ key: Key, after milliseconds: UInt64) {
    let moment = MonotonicTime(
      nanoseconds: MonotonicTime.now.nanoseconds + milliseconds * 1_000_000)
    moments[key] = moment
    next = next.map { min($0, moment) } ?? moment
  }

  mutating func cancel(_ key: Key) {
    guard !moments.isEmpty, moments.removeValue(forKey: key) != nil else { return }
    if moments.isEmpty { next = nil }
  }

  /// Asked at each turn of the loop, so it looks at the deadlines only when one may have passed.
  mutating func takeDue() -> [Key] {
    guard let moment = next, moment <= .now else { return [] }
    let now = MonotonicTime.now
    let due = moments.filter { $0.value <= now }.map(\.key)
    for key in due { moments[key] = nil }
    next = moments.values.min()
    return due
  }
}
