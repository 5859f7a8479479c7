import CoreMetrics
import PrometheusText
import Testing

@Suite struct NamesAndEscapesTests {
  @Test(arguments: [
    ("heap:free_total", "heap:free_total"), ("a.b-c/d", "a_b_c_d"), ("9lives", "_9lives"),
    ("größe", "gr__e"), ("", "_"), ("a\nb 1", "a_b_1"), ("_0", "_0"),
  ])
  func `a name is made valid`(given: String, written: String) {
    let registry = PrometheusRegistry()
    _ = Counter(label: given, factory: registry)
    #expect(registry.text() == "# TYPE \(written) counter\n\(written) 0\n")
  }

  @Test(arguments: [("a.b", "a_b"), ("a:b", "a_b"), ("0", "_0"), ("", "_"), ("le", "le")])
  func `a label's name is made valid, and has no colon`(given: String, written: String) {
    let registry = PrometheusRegistry()
    _ = Counter(label: "c", dimensions: [(given, "v")], factory: registry)
    #expect(registry.text() == "# TYPE c counter\nc{\(written)=\"v\"} 0\n")
  }

  @Test(arguments: [
    (#"C:\n"#, #"C:\\n"#), (#"say "hi""#, #"say \"hi\""#), ("a\nb", #"a\nb"#),
    ("a\r\nb", "a\r" + #"\nb"#), ("größe", "größe"), ("", ""),
  ])
  func `a label's value is escaped`(given: String, written: String) {
    let registry = PrometheusRegistry()
    _ = Counter(label: "c", dimensions: [("l", given)], factory: registry)
    #expect(registry.text() == "# TYPE c counter\nc{l=\"\(written)\"} 0\n")
  }

  @Test func `help is escaped except for quotes, and found by the name as given`() {
    let registry = PrometheusRegistry(help: ["a.b": "a \"b\"\n\\c"])
    _ = Counter(label: "a.b", factory: registry)
    #expect(
      registry.text() == #"# HELP a_b a "b"\n\\c"# + "\n# TYPE a_b counter\na_b 0\n")
  }

  @Test func `of two labels with one name the last counts`() {
    let registry = PrometheusRegistry()
    _ = Counter(label: "c", dimensions: [("a.b", "1"), ("a_b", "2")], factory: registry)
    #expect(registry.text() == "# TYPE c counter\nc{a_b=\"2\"} 0\n")
  }

  @Test func `a histogram keeps the label le to itself`() {
    let registry = PrometheusRegistry()
    _ = Recorder(label: "r", dimensions: [("le", "x")], factory: registry)
    #expect(registry.text().contains("\nr_bucket{exported_le=\"x\",le=\"1\"} 0\n"))
    #expect(registry.text().contains("\nr_count{exported_le=\"x\"} 0\n"))
  }

  @Test(arguments: [
    (1.0, "1"), (-2, "-2"), (0.1, "0.1"), (1e21, "1e+21"), (2.5e-7, "2.5e-07"),
    (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
  ])
  func `a number is written as Prometheus reads it`(value: Double, written: String) {
    let registry = PrometheusRegistry()
    Gauge(label: "g", factory: registry).record(value)
    #expect(registry.text() == "# TYPE g gauge\ng \(written)\n")
  }
}
