import CoreMetrics
import PrometheusText
import Testing

@Suite struct RecordingTests {
  private let registry = PrometheusRegistry()

  private func value(of series: String) -> String? {
    registry.text().split(separator: "\n")
      .first { $0.hasPrefix("\(series) ") }
      .map { String($0.dropFirst(series.count + 1)) }
  }

  @Test func `a counter only rises, until it is reset`() {
    let whole = Counter(label: "c", factory: registry)
    whole.increment(by: Int64.max)
    whole.increment(by: -5)
    #expect(value(of: "c") == "9223372036854775807")
    whole.increment(by: Int64.max)
    #expect(value(of: "c") == "18446744073709551614")
    whole.reset()
    let fractional = FloatingPointCounter(label: "c", factory: registry)
    for amount in [0.25, -1, .nan, .infinity] { fractional.increment(by: amount) }
    whole.increment(by: 2)
    #expect(value(of: "c") == "2.25")
    fractional.reset()
    #expect(value(of: "c") == "0")
  }

  @Test func `a meter rises and falls`() {
    let meter = Meter(label: "m", factory: registry)
    meter.set(10)
    meter.increment(by: 2.5)
    meter.decrement()
    #expect(value(of: "m") == "11.5")
  }

  /// In nanoseconds, and how the text writes them.
  private static let bounds: [(Int64, String)] = [
    (10_000, "1e-05"), (25_000, "2.5e-05"), (50_000, "5e-05"), (100_000, "0.0001"),
    (250_000, "0.00025"), (500_000, "0.0005"), (1_000_000, "0.001"), (2_500_000, "0.0025"),
    (5_000_000, "0.005"), (10_000_000, "0.01"), (25_000_000, "0.025"), (50_000_000, "0.05"),
    (100_000_000, "0.1"), (250_000_000, "0.25"), (500_000_000, "0.5"), (1_000_000_000, "1"),
    (2_500_000_000, "2.5"), (5_000_000_000, "5"), (10_000_000_000, "10"),
  ]

  @Test(arguments: bounds)
  func `a bucket has its bound and not a nanosecond more`(nanoseconds: Int64, bound: String) {
    let timer = CoreMetrics.Timer(label: "t", factory: registry)
    timer.recordNanoseconds(nanoseconds + 1)
    #expect(value(of: "t_bucket{le=\"\(bound)\"}") == "0")
    timer.recordNanoseconds(nanoseconds)
    #expect(value(of: "t_bucket{le=\"\(bound)\"}") == "1")
    timer.recordNanoseconds(nanoseconds - 1)
    #expect(value(of: "t_bucket{le=\"\(bound)\"}") == "2")
    #expect(value(of: "t_bucket{le=\"+Inf\"}") == "3")
    #expect(value(of: "t_count") == "3")
  }

  @Test func `there are no other bounds`() {
    _ = CoreMetrics.Timer(label: "t", factory: registry)
    let lines = registry.text().split(separator: "\n").filter { $0.hasPrefix("t_bucket") }
    #expect(lines == (Self.bounds.map(\.1) + ["+Inf"]).map { "t_bucket{le=\"\($0)\"} 0" })
  }

  @Test(arguments: [(Int64(-1), "0"), (0, "0"), (Int64.max, "9223372036.854776")])
  func `a timer takes any duration`(nanoseconds: Int64, sum: String) {
    CoreMetrics.Timer(label: "t", factory: registry).recordNanoseconds(nanoseconds)
    #expect(value(of: "t_sum") == sum)
    #expect(value(of: "t_count") == "1")
  }

  @Test func `a sum of durations is exact`() {
    let timer = CoreMetrics.Timer(label: "t", factory: registry)
    for _ in 0..<3 { timer.recordMilliseconds(100) }
    #expect(value(of: "t_sum") == "0.3")
  }

  @Test(arguments: [Double.nan, .infinity, -.infinity])
  func `a histogram leaves out what is not finite`(value: Double) {
    Recorder(label: "r", factory: registry).record(value)
    #expect(self.value(of: "r_count") == "0")
    #expect(self.value(of: "r_sum") == "0")
  }
}
