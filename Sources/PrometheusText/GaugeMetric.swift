internal import CoreMetrics

/// A value that rises and falls. As Prometheus reads doubles, integers beyond 2⁵³ are rounded.
final class GaugeMetric: Metric, MeterHandler, RecorderHandler {
  let id: MetricID
  private let value = AtomicDouble()

  init(_ id: MetricID) { self.id = id }

  func set(_ value: Int64) { self.value.set(Double(value)) }
  func set(_ value: Double) { self.value.set(value) }

  func increment(by amount: Double) { value.add(amount) }
  func decrement(by amount: Double) { value.add(-amount) }

  func record(_ value: Int64) { set(value) }
  func record(_ value: Double) { set(value) }

  func write(to text: inout String) {
    PrometheusLine.write(id.name, id.labels, PrometheusNumber.text(value.value), to: &text)
  }
}
