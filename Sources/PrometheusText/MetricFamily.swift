/// The metrics of one name, which differ in their labels.
struct MetricFamily: Sendable {
  struct Series: Sendable {
    let metric: any Metric
    /// How often it was made and not yet let go.
    var users: Int
  }

  enum Rest { case empty, inUse }

  let kind: MetricKind
  private(set) var series: [String: Series] = [:]

  init(kind: MetricKind) { self.kind = kind }

  mutating func use<Handler: Metric>(
    _ id: MetricID, make: (MetricID) -> Handler
  ) -> Handler {
    if let found = series[id.labels] {
      series[id.labels]?.users += 1
      // A family has one kind, and a kind one class.
      return found.metric as! Handler
    }
    let handler = make(id)
    series[id.labels] = Series(metric: handler, users: 1)
    return handler
  }

  /// Does nothing for a metric that is no longer here, even if a new one has its labels.
  mutating func release(_ metric: any Metric) -> Rest {
    if let series = series[metric.id.labels], series.metric === metric {
      self.series[metric.id.labels]?.users -= 1
      if series.users == 1 { self.series[metric.id.labels] = nil }
    }
    return series.isEmpty ? .empty : .inUse
  }
}
