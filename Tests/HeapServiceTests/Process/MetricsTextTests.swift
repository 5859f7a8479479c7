import CoreMetrics
import Dispatch
import Foundation
import Testing

@testable import heapd

@Suite struct MetricsTextTests {
  private let metrics = PrometheusMetrics()

  private func value(of series: String) -> String? {
    metrics.text().split(separator: "\n")
      .first { $0.hasPrefix("\(series) ") }
      .map { String($0.dropFirst(series.count + 1)) }
  }

  @Test func `nothing in it, nothing in the text`() {
    #expect(metrics.text() == "")
  }

  @Test func `counters, gauges and their labels, sorted`() {
    Counter(label: "requests_total", dimensions: [("heap", "system")], factory: metrics)
      .increment(by: 3)
    Counter(label: "requests_total", dimensions: [("heap", "memfd")], factory: metrics).increment()
    Meter(label: "heapd_orphans", factory: metrics).set(7)
    _ = Counter(label: "errors_total", factory: metrics)
    #expect(
      metrics.text() == """
        # TYPE errors_total counter
        errors_total 0
        # HELP heapd_orphans Live buffers whose connection is gone.
        # TYPE heapd_orphans gauge
        heapd_orphans 7
        # TYPE requests_total counter
        requests_total{heap="memfd"} 1
        requests_total{heap="system"} 3

        """)
  }

  @Test func `a timer is a histogram in seconds`() {
    let timer = CoreMetrics.Timer(
      label: "reply_seconds", dimensions: [("call", "allocate")], factory: metrics)
    timer.recordNanoseconds(10_000)
    timer.recordMilliseconds(3)
    timer.recordSeconds(60)
    #expect(
      metrics.text() == """
        # TYPE reply_seconds histogram
        reply_seconds_bucket{call="allocate",le="1e-05"} 1
        reply_seconds_bucket{call="allocate",le="2.5e-05"} 1
        reply_seconds_bucket{call="allocate",le="5e-05"} 1
        reply_seconds_bucket{call="allocate",le="0.0001"} 1
        reply_seconds_bucket{call="allocate",le="0.00025"} 1
        reply_seconds_bucket{call="allocate",le="0.0005"} 1
        reply_seconds_bucket{call="allocate",le="0.001"} 1
        reply_seconds_bucket{call="allocate",le="0.0025"} 1
        reply_seconds_bucket{call="allocate",le="0.005"} 2
        reply_seconds_bucket{call="allocate",le="0.01"} 2
        reply_seconds_bucket{call="allocate",le="0.025"} 2
        reply_seconds_bucket{call="allocate",le="0.05"} 2
        reply_seconds_bucket{call="allocate",le="0.1"} 2
        reply_seconds_bucket{call="allocate",le="0.25"} 2
        reply_seconds_bucket{call="allocate",le="0.5"} 2
        reply_seconds_bucket{call="allocate",le="1"} 2
        reply_seconds_bucket{call="allocate",le="2.5"} 2
        reply_seconds_bucket{call="allocate",le="5"} 2
        reply_seconds_bucket{call="allocate",le="10"} 2
        reply_seconds_bucket{call="allocate",le="+Inf"} 3
        reply_seconds_sum{call="allocate"} 60.00301
        reply_seconds_count{call="allocate"} 3

        """)
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
    let timer = CoreMetrics.Timer(label: "t", factory: metrics)
    timer.recordNanoseconds(nanoseconds + 1)
    #expect(value(of: "t_bucket{le=\"\(bound)\"}") == "0")
    timer.recordNanoseconds(nanoseconds)
    #expect(value(of: "t_bucket{le=\"\(bound)\"}") == "1")
    timer.recordNanoseconds(nanoseconds - 1)
    #expect(value(of: "t_bucket{le=\"\(bound)\"}") == "2")
    #expect(value(of: "t_bucket{le=\"+Inf\"}") == "3")
    #expect(value(of: "t_count") == "3")
  }

  @Test(arguments: [(Int64(-1), "0"), (0, "0"), (Int64.max, "9223372036.854776")])
  func `a timer takes any duration`(nanoseconds: Int64, sum: String) {
    CoreMetrics.Timer(label: "t", factory: metrics).recordNanoseconds(nanoseconds)
    #expect(value(of: "t_sum") == sum)
    #expect(value(of: "t_count") == "1")
  }

  @Test func `a sum of durations is exact`() {
    let timer = CoreMetrics.Timer(label: "t", factory: metrics)
    for _ in 0..<3 { timer.recordMilliseconds(100) }
    #expect(value(of: "t_sum") == "0.3")
  }

  @Test(arguments: [
    (#"C:\n"#, #"C:\\n"#), (#"say "hi""#, #"say \"hi\""#), ("a\nb", #"a\nb"#),
    ("a\r\nb", "a\r" + #"\nb"#), ("größe", "größe"), ("", ""),
  ])
  func `a label's value is escaped`(given: String, written: String) {
    _ = Counter(label: "c", dimensions: [("l", given)], factory: metrics)
    #expect(metrics.text() == "# TYPE c counter\nc{l=\"\(written)\"} 0\n")
  }

  @Test func `no increment and no duration is lost`() {
    let counter = Counter(label: "c_total", factory: metrics)
    let timer = CoreMetrics.Timer(label: "t", factory: metrics)
    let group = DispatchGroup()
    // Tasks would take turns on a machine with few cores.
    for _ in 0..<8 {
      group.enter()
      Thread {
        for _ in 0..<100_000 {
          counter.increment()
          timer.recordNanoseconds(20_000)
        }
        group.leave()
      }.start()
    }
    group.wait()
    let text = metrics.text()
    #expect(text.contains("\nc_total 800000\n"))
    #expect(text.contains("\nt_bucket{le=\"1e-05\"} 0\nt_bucket{le=\"2.5e-05\"} 800000\n"))
    #expect(text.hasSuffix("\nt_sum 16\nt_count 800000\n"))
  }
}
