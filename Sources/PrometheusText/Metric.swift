/// One line of the text, or one histogram's lines.
protocol Metric: AnyObject, Sendable {
  var id: MetricID { get }

  func write(to text: inout String)
}

/// What tells one metric from another.
struct MetricID: Sendable {
  /// Valid in the text.
  let name: String
  /// As in the text, sorted and escaped, without braces; empty if there are none.
  let labels: String
}

/// What a name stands for. Durations and amounts have the same type and different buckets.
enum MetricKind {
  case counter, gauge, durations, amounts

  /// The word in the TYPE line.
  var typeName: String {
    switch self {
    case .counter: "counter"
    case .gauge: "gauge"
    case .durations, .amounts: "histogram"
    }
  }
}
