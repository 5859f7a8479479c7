/// The shortest wait of a table's buffers and, where asking about all of them takes little, the longest: nanoseconds.
package struct RecheckLimits: Sendable {
  let first: UInt64
  let longest: UInt64
  /// However many buffers there are: 64 s. What looks cost is measured, and may be measured wrong.
  package static let mostSeldom: UInt64 = 64_000_000_000

  init(_ recheck: Reclaimer.Recheck) {
    first = UInt64(recheck.first.attoseconds / 1_000_000_000)
    longest = UInt64(recheck.longest.attoseconds / 1_000_000_000)
  }
}

/// When to ask the kernel about one buffer again.
struct RecheckSchedule: Sendable {
  /// Zero before the first look is due.
  private var interval: UInt64 = 0

  /// Nil while something else will tell.
  private(set) var due: MonotonicTime?

  func isDue(at now: MonotonicTime) -> Bool { due.map { $0 <= now } ?? false }

  /// Due now. What is waited afterwards begins with the interval, nanoseconds.
  mutating func startOver(at now: MonotonicTime, _ interval: UInt64) {
    self.interval = interval
    due = now
  }

  /// When it is due is unchanged; what is waited from then on begins with the interval, nanoseconds.
  mutating func hasten(to interval: UInt64) { self.interval = interval }

  /// Waits for the interval, and then twice as long. Answers until when.
  ///
  /// The moment is a whole multiple of the interval, so that all buffers that wait equally long are
  /// asked about in one wake-up.
  ///
  /// - Parameter round: What it costs to ask about all buffers once, nanoseconds. The longest wait is at
  ///   least 128 times that, which keeps all the asking below one percent of a processor, up to 64 s.
  mutating func backOff(
    from now: MonotonicTime, _ limits: RecheckLimits, round: UInt64 = 0
  ) -> MonotonicTime {
    if interval == 0 { interval = limits.first }
    let moment = MonotonicTime(nanoseconds: (now.nanoseconds / interval + 1) * interval)
    due = moment
    // Doubled only, so that those who wait equally long go on to do so.
    if interval < limits.longest {
      interval = min(interval * 2, limits.longest)
    } else if interval / 128 < round, interval < RecheckLimits.mostSeldom {
      // At once: on the way there by doubling, ten thousand buffers would take a tenth of a processor for minutes.
      repeat { interval *= 2 } while interval / 128 < round && interval < RecheckLimits.mostSeldom
    } else if interval > limits.longest, interval / 256 >= round {
      interval = max(interval / 2, limits.longest)
    }
    return moment
  }

  mutating func pause() { due = nil }
}

/// Which buffers, by their places in the table, are to be asked about, and when.
///
/// Waits that grow by doubling, at whole multiples of themselves, give a handful of moments for any
/// number of buffers: a bucket for each. What was rescheduled meanwhile stays in its old bucket, and
/// whoever empties that asks the buffer's own schedule.
struct RecheckQueue {
  private var buckets: [MonotonicTime: [Int]] = [:]
  private static let now = MonotonicTime(nanoseconds: 0)

  /// When to empty the next bucket; nil for never.
  var next: MonotonicTime? { buckets.keys.min() }

  mutating func addNow(_ buffer: Int) { add(buffer, at: Self.now) }

  mutating func add(_ buffer: Int, at moment: MonotonicTime) {
    buckets[moment, default: []].append(buffer)
  }

  /// Takes from the buckets whose time has come; what is beyond `most` stays due.
  mutating func takeDue(at time: MonotonicTime, atMost most: Int = .max) -> [Int] {
    guard let next, next <= time else { return [] }
    let moments = buckets.keys.filter { $0 <= time }.sorted()
    let due = moments.flatMap { buckets.removeValue(forKey: $0)! }
    if due.count > most { buckets[Self.now] = Array(due[most...]) }
    return Array(due.prefix(most))
  }
}
