internal import CoreMetrics
internal import Synchronization

/// A count that only rises, of whole and of fractional amounts.
///
/// The two are added up apart: a whole amount is then one atomic addition, where a `Double` needs a
/// loop. Whole amounts start again from zero at 2⁶⁴, which reads as a restart of the program.
final class CounterMetric: Metric, CounterHandler, FloatingPointCounterHandler {
  let id: MetricID
  private let whole = Atomic<UInt64>(0)
  private let fractional = AtomicDouble()

  init(_ id: MetricID) { self.id = id }

  /// An amount below zero is ignored: a counter that falls would read as a restart, too.
  func increment(by amount: Int64) {
    guard amount > 0 else { return }
    whole.wrappingAdd(UInt64(amount), ordering: .relaxed)
  }

  /// As above; so are infinity and not-a-number, from which a sum would not come back.
  func increment(by amount: Double) {
    guard amount > 0, amount.isFinite else { return }
    fractional.add(amount)
  }

  func reset() {
    whole.store(0, ordering: .relaxed)
    fractional.set(0)
  }

  func write(to text: inout String) {
    let whole = whole.load(ordering: .relaxed)
    let fractional = fractional.value
    let value =
      fractional == 0 ? String(whole) : PrometheusNumber.text(Double(whole) + fractional)
    PrometheusLine.write(id.name, id.labels, value, to: &text)
  }
}
