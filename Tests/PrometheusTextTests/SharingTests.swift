import CoreMetrics
import PrometheusText
import Testing

@Suite struct SharingTests {
  private let registry = PrometheusRegistry()

  @Test func `the same label and dimensions, in any order, are one metric`() {
    let ab = [("a", "1"), ("b", "2")]
    let first = registry.makeCounter(label: "c", dimensions: ab)
    #expect(first === registry.makeCounter(label: "c", dimensions: ab.reversed()))
    #expect(first === registry.makeFloatingPointCounter(label: "c", dimensions: ab))
    #expect(first !== registry.makeCounter(label: "c", dimensions: []))
    #expect(first !== registry.makeCounter(label: "d", dimensions: ab))
    let gauge = registry.makeMeter(label: "g", dimensions: ab)
    #expect(gauge === registry.makeRecorder(label: "g", dimensions: ab, aggregate: false))
    let recorder = registry.makeRecorder(label: "r", dimensions: ab, aggregate: true)
    #expect(recorder === registry.makeRecorder(label: "r", dimensions: ab, aggregate: true))
    let timer = registry.makeTimer(label: "t", dimensions: ab)
    #expect(timer === registry.makeTimer(label: "t", dimensions: ab))
  }

  @Test func `labels do not run into each other`() {
    let one = registry.makeCounter(label: "c", dimensions: [("a", "1\",b=\"2")])
    #expect(one !== registry.makeCounter(label: "c", dimensions: [("a", "1"), ("b", "2")]))
  }

  @Test func `a name has one type, and nothing is lost`() {
    Counter(label: "x", factory: registry).increment()
    Meter(label: "x", factory: registry).set(2)
    CoreMetrics.Timer(label: "x", factory: registry).recordSeconds(3)
    Recorder(label: "x", factory: registry).record(4)
    Meter(label: "x", factory: registry).increment()
    let lines = registry.text().split(separator: "\n").filter { !$0.contains("_bucket") }
    #expect(
      lines == [
        "# TYPE x counter", "x 1",
        "# TYPE x_gauge gauge", "x_gauge 3",
        "# TYPE x_histogram histogram", "x_histogram_sum 3", "x_histogram_count 1",
        "# TYPE x_histogram_histogram histogram", "x_histogram_histogram_sum 4",
        "x_histogram_histogram_count 1",
      ])
  }

  @Test func `a metric goes with its last user`() {
    let first = Counter(label: "c", factory: registry)
    let second = Counter(label: "c", factory: registry)
    let other = Counter(label: "c", dimensions: [("a", "1")], factory: registry)
    first.destroy()
    second.increment()
    #expect(registry.text() == "# TYPE c counter\nc 1\nc{a=\"1\"} 0\n")
    second.destroy()
    #expect(registry.text() == "# TYPE c counter\nc{a=\"1\"} 0\n")
    other.destroy()
    #expect(registry.text() == "")
  }

  @Test func `each kind can be destroyed`() {
    Counter(label: "a", factory: registry).destroy()
    FloatingPointCounter(label: "b", factory: registry).destroy()
    Meter(label: "c", factory: registry).destroy()
    Gauge(label: "d", factory: registry).destroy()
    Recorder(label: "e", factory: registry).destroy()
    CoreMetrics.Timer(label: "f", factory: registry).destroy()
    #expect(registry.text() == "")
  }

  @Test func `what was destroyed does not take its successor with it`() {
    let old = Counter(label: "c", factory: registry)
    old.destroy()
    let new = Counter(label: "c", factory: registry)
    old.increment()
    old.destroy()
    new.increment(by: 2)
    #expect(registry.text() == "# TYPE c counter\nc 2\n")
  }

  @Test func `a handler of another registry is left alone`() {
    let other = PrometheusRegistry()
    let foreign = other.makeCounter(label: "c", dimensions: [])
    _ = Counter(label: "c", factory: registry)
    registry.destroyCounter(foreign)
    registry.destroyTimer(NOOPMetricsHandler.instance)
    #expect(registry.text() == "# TYPE c counter\nc 0\n")
    #expect(other.text() == "# TYPE c counter\nc 0\n")
  }
}
