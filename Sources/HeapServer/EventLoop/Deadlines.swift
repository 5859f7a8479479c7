internal import LinuxHeaps

/// What is to be done at which time, unless it is cancelled before.
struct Deadlines<Key: Hashable> {
  private var moments: [Key: MonotonicTime] = [:]

  /// Few at any time: what waits for others, never what goes well.
  var next: MonotonicTime? { moments.isEmpty ? nil : moments.values.min() }

  mutating func set(_ key: Key, after milliseconds: UInt64) {
    moments[key] = MonotonicTime(
      nanoseconds: MonotonicTime.now.nanoseconds + milliseconds * 1_000_000)
  }

  mutating func cancel(_ key: Key) { moments[key] = nil }

  mutating func takeDue() -> [Key] {
    if moments.isEmpty { return [] }
    let now = MonotonicTime.now
    let due = moments.filter { $0.value <= now }.map(\.key)
    for key in due { moments[key] = nil }
    return due
  }
}
