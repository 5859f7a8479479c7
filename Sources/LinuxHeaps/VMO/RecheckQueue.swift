/// Which buffers are to be asked about, and when.
///
/// Waits that grow by doubling, at whole multiples of themselves, give a handful of moments for any
/// number of buffers: a bucket for each. What was rescheduled meanwhile stays in its old bucket, and
/// whoever empties that asks the buffer's own schedule.
struct RecheckQueue {
  private var now: [ObjectIdentifier] = []
  private var later: [MonotonicTime: [ObjectIdentifier]] = [:]

  /// When to empty the next bucket; nil for never.
  var next: MonotonicTime? { now.isEmpty ? later.keys.min() : MonotonicTime(nanoseconds: 0) }

  mutating func addNow(_ buffer: ObjectIdentifier) { now.append(buffer) }

  mutating func add(_ buffer: ObjectIdentifier, at moment: MonotonicTime) {
    later[moment, default: []].append(buffer)
  }

  /// Takes from the buckets whose time has come; what is beyond `most` stays due.
  mutating func takeDue(at time: MonotonicTime, atMost most: Int = .max) -> [ObjectIdentifier] {
    if !later.isEmpty {
      for moment in later.keys.filter({ $0 <= time }) { now += later.removeValue(forKey: moment)! }
    }
    defer { now.removeFirst(min(most, now.count)) }
    return Array(now.prefix(most))
  }
}
