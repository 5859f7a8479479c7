internal import CoreMetrics
internal import Synchronization

/// How many values fell into each of a fixed list of ranges, and their sum.
final class HistogramMetric: Metric, TimerHandler, RecorderHandler {
  let id: MetricID
  private let scale: BucketScale
  /// Not cumulative: the text adds them up, which makes recording touch one of them only.
  private let buckets: InlineArray<20, Atomic<UInt64>>
  private let sum = AtomicDouble()

  init(_ id: MetricID, _ scale: BucketScale) {
    precondition(scale.bounds.count == BucketScale.bucketCount - 1)
    self.id = id
    self.scale = scale
    buckets = InlineArray { _ in Atomic(0) }
  }

  /// A clock that was set back gives durations below zero: they count as none.
  func recordNanoseconds(_ duration: Int64) { record(Double(max(duration, 0))) }

  func record(_ value: Int64) { record(Double(value)) }

  /// Infinity and not-a-number are ignored: the sum would not come back from them.
  func record(_ value: Double) {
    guard value.isFinite else { return }
    buckets[scale.bucket(of: value)].wrappingAdd(1, ordering: .relaxed)
    sum.add(value)
  }

  func write(to text: inout String) {
    let separator = id.labels.isEmpty ? "" : ","
    var count: UInt64 = 0
    for index in buckets.indices {
      count &+= buckets[index].load(ordering: .relaxed)
      let bound = index < scale.bounds.count ? scale.bounds[index] / scale.divisor : .infinity
      let le = "\(id.labels)\(separator)le=\"\(PrometheusNumber.text(bound))\""
      PrometheusLine.write("\(id.name)_bucket", le, String(count), to: &text)
    }
    let sum = PrometheusNumber.text(sum.value / scale.divisor)
    PrometheusLine.write("\(id.name)_sum", id.labels, sum, to: &text)
    PrometheusLine.write("\(id.name)_count", id.labels, String(count), to: &text)
  }
}
