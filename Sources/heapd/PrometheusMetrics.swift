internal import CoreMetrics
internal import LinuxHeaps
internal import Synchronization

/// Keeps HeapServer's metrics and writes them as text for Prometheus (exposition format 0.0.4).
///
/// A back end of swift-metrics for the kinds and names that HeapServer has, each of which it makes once.
/// Recording takes no lock and allocates nothing.
final class PrometheusMetrics: MetricsFactory {
  /// By their names, and then by their labels.
  private let families = Guarded<[String: [String: any PrometheusMetric]]>([:])

  private static let help = [
    "heapd_allocations_total": "Buffers allocated.",
    "heapd_allocations_failed_total": "Allocations refused or failed, by the protocol's status.",
    "heapd_buffers": "Buffers that are not fully reclaimed.",
    "heapd_bytes": "Bytes of buffers that are not fully reclaimed.",
    "heapd_bytes_high_water": "The most bytes that were live at once.",
    "heapd_reclaim_seconds": "From DeleteVmo to its answer.",
    "heapd_orphans": "Live buffers whose connection is gone.",
    "heapd_connections": "Open connections of both protocols.",
    "heapd_connections_refused_total": "Connections ended because of what they sent.",
    "heapd_connections_stalled_total": "Connections ended because they did not read.",
  ]

  /// Every metric, sorted by name and then by labels.
  ///
  /// Recording goes on meanwhile, so values of one text may be an instant apart. Within a histogram the
  /// count always is the sum of the buckets.
  func text() -> String {
    let families = self.families.withLock { $0 }
    var text = ""
    for (name, metrics) in families.sorted(by: { $0.key < $1.key }) {
      if let help = Self.help[name] { text += "# HELP \(name) \(help)\n" }
      if let type = metrics.values.first?.type { text += "# TYPE \(name) \(type)\n" }
      for (labels, metric) in metrics.sorted(by: { $0.key < $1.key }) {
        for sample in metric.samples {
          let all = [labels, sample.label].filter { !$0.isEmpty }.joined(separator: ",")
          text += "\(name)\(sample.suffix)\(all.isEmpty ? "" : "{\(all)}") \(sample.value)\n"
        }
      }
    }
    return text
  }

  private func add<Metric: PrometheusMetric>(
    _ metric: Metric, _ name: String, _ dimensions: [(String, String)]
  ) -> Metric {
    let labels = dimensions.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",")
    families.withLock { $0[name, default: [:]][labels] = metric }
    return metric
  }

  /// By scalars: as a `Character`, a line feed after a carriage return is no line feed.
  private static func escaped(_ value: String) -> String {
    var escaped = String.UnicodeScalarView()
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\\", "\"": escaped.append(contentsOf: ["\\", scalar])
      case "\n": escaped.append(contentsOf: ["\\", "n"])
      default: escaped.append(scalar)
      }
    }
    return String(escaped)
  }

  func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    add(PrometheusValue("counter"), label, dimensions)
  }

  func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    add(PrometheusValue("gauge"), label, dimensions)
  }

  func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    add(PrometheusHistogram(), label, dimensions)
  }

  /// HeapServer has none.
  func makeRecorder(
    label: String, dimensions: [(String, String)], aggregate: Bool
  ) -> any RecorderHandler { NOOPMetricsHandler.instance }

  func destroyCounter(_ handler: any CounterHandler) {}
  func destroyRecorder(_ handler: any RecorderHandler) {}
  func destroyTimer(_ handler: any TimerHandler) {}
}

private protocol PrometheusMetric: Sendable {
  var type: String { get }
  /// What follows the metric's name, what is added to its labels, and the value.
  var samples: [(suffix: String, label: String, value: String)] { get }
}

/// A whole number that is counted up, or set.
private final class PrometheusValue: PrometheusMetric, CounterHandler, MeterHandler {
  let type: String
  private let value = Atomic<Int64>(0)

  init(_ type: String) { self.type = type }

  func increment(by amount: Int64) { value.wrappingAdd(amount, ordering: .relaxed) }
  func reset() { set(Int64(0)) }
  func set(_ value: Int64) { self.value.store(value, ordering: .relaxed) }
  func set(_ value: Double) { set(Int64(value)) }
  func increment(by amount: Double) { increment(by: Int64(amount)) }
  func decrement(by amount: Double) { increment(by: -Int64(amount)) }

  var samples: [(suffix: String, label: String, value: String)] {
    [("", "", String(value.load(ordering: .relaxed)))]
  }
}

/// How many durations fell into each of a fixed list of ranges, and their sum, in seconds.
private final class PrometheusHistogram: PrometheusMetric, TimerHandler {
  let type = "histogram"
  /// In nanoseconds, ascending. A duration that equals a bound is within it; the last bucket has none.
  private static let bounds: [Int64] = [
    10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
    25_000_000, 50_000_000, 100_000_000, 250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000,
    5_000_000_000, 10_000_000_000,
  ]
  /// Not cumulative: the text adds them up, which makes recording touch one of them only.
  private let buckets = InlineArray<20, Atomic<UInt64>> { _ in Atomic(0) }
  private let sum = Atomic<UInt64>(0)

  /// A clock that was set back gives durations below zero: they count as none.
  func recordNanoseconds(_ duration: Int64) {
    let index = Self.bounds.firstIndex { duration <= $0 } ?? Self.bounds.count
    buckets[index].wrappingAdd(1, ordering: .relaxed)
    sum.wrappingAdd(UInt64(max(duration, 0)), ordering: .relaxed)
  }

  var samples: [(suffix: String, label: String, value: String)] {
    var samples: [(suffix: String, label: String, value: String)] = []
    var count: UInt64 = 0
    for index in buckets.indices {
      count &+= buckets[index].load(ordering: .relaxed)
      let bound = index < Self.bounds.count ? Self.seconds(UInt64(Self.bounds[index])) : "+Inf"
      samples.append(("_bucket", "le=\"\(bound)\"", String(count)))
    }
    samples.append(("_sum", "", Self.seconds(sum.load(ordering: .relaxed))))
    samples.append(("_count", "", String(count)))
    return samples
  }

  /// The shortest text that reads back as this number; whole numbers have no point.
  private static func seconds(_ nanoseconds: UInt64) -> String {
    let text = (Double(nanoseconds) / 1e9).description
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}
