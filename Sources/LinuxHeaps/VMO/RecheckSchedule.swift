/// When to ask the kernel about one buffer again.
struct RecheckSchedule: Sendable {
  private let first: UInt64
  private let longest: UInt64
  private var interval: UInt64

  /// Nil while something else will tell.
  private(set) var due: MonotonicTime?

  init(_ recheck: Reclaimer.Recheck) {
    first = recheck.first.nanoseconds
    longest = recheck.longest.nanoseconds
    interval = first
  }

  func isDue(at now: MonotonicTime) -> Bool { due.map { $0 <= now } ?? false }

  mutating func startOver(at now: MonotonicTime) {
    interval = first
    due = now
  }

  /// Waits for the interval, and then twice as long. Answers until when.
  ///
  /// The moment is a whole multiple of the interval, so that all buffers that wait equally long are
  /// asked about in one wake-up.
  ///
  /// - Parameter buffers: How many there are to ask about. At 400 µs for each, the longest wait keeps
  ///   all the asking near one percent of a processor.
  mutating func backOff(from now: MonotonicTime, among buffers: Int = 1) -> MonotonicTime {
    let moment = MonotonicTime(nanoseconds: (now.nanoseconds / interval + 1) * interval)
    due = moment
    interval = min(interval * 2, max(longest, UInt64(buffers) * 400_000))
    return moment
  }

  mutating func pause() { due = nil }
}

extension Duration {
  fileprivate var nanoseconds: UInt64 {
    let (seconds, attoseconds) = components
    return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds) / 1_000_000_000
  }
}
