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

  /// Empties the buckets whose time has come.
  mutating func takeDue(at time: MonotonicTime) -> [ObjectIdentifier] {
    var due = now
    now.removeAll(keepingCapacity: true)
    if !later.isEmpty {
      for moment in later.keys.filter({ $0 <= time }) { due += later.removeValue(forKey: moment)! }
    }
    return due
  }
}
