public import CoreMetrics
internal import LinuxHeaps

/// A back end of swift-metrics that keeps its metrics in memory and writes them as text for
/// Prometheus, in exposition format 0.0.4 (`text/plain; version=0.0.4`).
///
/// Recording into a metric takes no lock and allocates nothing. Making and destroying one takes the
/// registry's lock.
///
/// - Counters are `counter`. The name is written as given: the caller ends it in `_total`.
/// - Meters and recorders that do not aggregate are `gauge`.
/// - Timers are `histogram`, in seconds, from 10 µs to 10 s.
/// - Recorders that aggregate are `histogram`, with bounds at the powers of four from 1 to 4¹⁸,
///   which suits bytes and counts. The names `x_bucket`, `x_sum` and `x_count` belong to the
///   histogram `x`: no other metric should be given one.
///
/// A name that Prometheus would refuse is made valid: each scalar that is not allowed becomes `_`.
/// One name has one type. A metric of another kind whose name is taken gets its type appended, so
/// that neither is lost and the text stays valid.
public final class PrometheusRegistry: MetricsFactory, Sendable {
  private let families = Guarded<[String: MetricFamily]>([:])
  private let help: [String: String]

  /// - Parameter help: what a metric means, by its name; it becomes the metric's HELP line.
  public init(help: [String: String] = [:]) {
    // Two names may become one: the choice must not depend on the order of a dictionary.
    self.help = Dictionary(
      help.map { (PrometheusName.metric($0.key), $0.value) }, uniquingKeysWith: min)
  }

  /// Every metric, sorted by name and then by labels; empty if there is none.
  ///
  /// Recording goes on meanwhile, so values of one text may be an instant apart. Within a histogram
  /// the count always is the sum of the buckets.
  public func text() -> String {
    let families = self.families.withLock { $0 }
    var text = ""
    for (name, family) in families.sorted(by: { $0.key < $1.key }) {
      if let words = help[name] {
        text += "# HELP \(name) \(PrometheusEscape.help(words))\n"
      }
      text += "# TYPE \(name) \(family.kind.typeName)\n"
      for (_, series) in family.series.sorted(by: { $0.key < $1.key }) {
        series.metric.write(to: &text)
      }
    }
    return text
  }

  /// The metric of this kind, label and dimensions: the one that is there, or a new one.
  func metric<Handler: Metric>(
    _ kind: MetricKind, _ label: String, _ dimensions: [(String, String)],
    make: (MetricID) -> Handler
  ) -> Handler {
    let labels = PrometheusLabels.text(dimensions, of: kind)
    return families.withLock { families in
      var name = PrometheusName.metric(label)
      while let taken = families[name], taken.kind != kind { name += "_\(kind.typeName)" }
      return families[name, default: MetricFamily(kind: kind)]
        .use(MetricID(name: name, labels: labels), make: make)
    }
  }

  /// Lets go of a metric. It is forgotten when it was let go as often as it was made.
  func release(_ handler: AnyObject) {
    guard let metric = handler as? any Metric else { return }
    families.withLock { families in
      guard families[metric.id.name]?.release(metric) == .empty else { return }
      families[metric.id.name] = nil
    }
  }
}
