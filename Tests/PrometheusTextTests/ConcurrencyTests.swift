import CoreMetrics
import PrometheusText
import Testing

@Suite struct ConcurrencyTests {
  private static let threads = 8
  private static let rounds = 100_000
  private let registry = PrometheusRegistry()

  @Test func `no increment is lost`() {
    Threads.run(Self.threads) { [registry] in
      let whole = Counter(label: "whole_total", factory: registry)
      let half = FloatingPointCounter(label: "half_total", factory: registry)
      for _ in 0..<Self.rounds {
        whole.increment()
        half.increment(by: 0.5)
      }
    }
    #expect(
      registry.text() == """
        # TYPE half_total counter
        half_total 400000
        # TYPE whole_total counter
        whole_total 800000

        """)
  }

  @Test func `no duration is lost`() {
    Threads.run(Self.threads) { [registry] in
      let timer = CoreMetrics.Timer(label: "t", factory: registry)
      for _ in 0..<Self.rounds { timer.recordNanoseconds(20_000) }
    }
    let text = registry.text()
    #expect(text.contains("\nt_bucket{le=\"1e-05\"} 0\nt_bucket{le=\"2.5e-05\"} 800000\n"))
    #expect(text.hasSuffix("\nt_sum 16\nt_count 800000\n"))
  }

  @Test func `metrics come and go while the text is written`() {
    Threads.run(Self.threads) { [registry] in
      for round in 0..<1000 {
        let counter = Counter(
          label: "c", dimensions: [("n", "\(round % 3)")], factory: registry)
        counter.increment()
        _ = registry.text()
        counter.destroy()
      }
    }
    #expect(registry.text() == "")
  }
}
