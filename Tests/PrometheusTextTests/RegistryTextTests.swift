import CoreMetrics
import PrometheusText
import Testing

@Suite struct RegistryTextTests {
  @Test func `nothing in it, nothing in the text`() {
    #expect(PrometheusRegistry(help: ["unused": "words"]).text() == "")
  }

  @Test func `counters, gauges and their labels, sorted`() {
    let registry = PrometheusRegistry(help: ["requests_total": "Requests served."])
    Counter(
      label: "requests_total", dimensions: [("status", "ok"), ("heap", "system")],
      factory: registry
    ).increment(by: 3)
    Counter(
      label: "requests_total", dimensions: [("heap", "memfd"), ("status", "ok")],
      factory: registry
    ).increment()
    FloatingPointCounter(label: "seconds_total", factory: registry).increment(by: 0.5)
    Meter(label: "open_buffers", factory: registry).set(7)
    Gauge(label: "load", factory: registry).record(1.25)
    _ = Counter(label: "errors_total", factory: registry)
    #expect(
      registry.text() == """
        # TYPE errors_total counter
        errors_total 0
        # TYPE load gauge
        load 1.25
        # TYPE open_buffers gauge
        open_buffers 7
        # HELP requests_total Requests served.
        # TYPE requests_total counter
        requests_total{heap="memfd",status="ok"} 1
        requests_total{heap="system",status="ok"} 3
        # TYPE seconds_total counter
        seconds_total 0.5

        """)
  }

  @Test func `a timer is a histogram in seconds`() {
    let registry = PrometheusRegistry()
    let timer = CoreMetrics.Timer(
      label: "reply_seconds", dimensions: [("call", "allocate")], factory: registry)
    timer.recordNanoseconds(10_000)
    timer.recordMilliseconds(3)
    timer.recordSeconds(60)
    #expect(
      registry.text() == """
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

  @Test func `a recorder that aggregates is a histogram of powers of four`() {
    let registry = PrometheusRegistry()
    let recorder = Recorder(label: "bytes", factory: registry)
    recorder.record(4096)
    recorder.record(0.5)
    #expect(
      registry.text() == """
        # TYPE bytes histogram
        bytes_bucket{le="1"} 1
        bytes_bucket{le="4"} 1
        bytes_bucket{le="16"} 1
        bytes_bucket{le="64"} 1
        bytes_bucket{le="256"} 1
        bytes_bucket{le="1024"} 1
        bytes_bucket{le="4096"} 2
        bytes_bucket{le="16384"} 2
        bytes_bucket{le="65536"} 2
        bytes_bucket{le="262144"} 2
        bytes_bucket{le="1048576"} 2
        bytes_bucket{le="4194304"} 2
        bytes_bucket{le="16777216"} 2
        bytes_bucket{le="67108864"} 2
        bytes_bucket{le="268435456"} 2
        bytes_bucket{le="1073741824"} 2
        bytes_bucket{le="4294967296"} 2
        bytes_bucket{le="17179869184"} 2
        bytes_bucket{le="68719476736"} 2
        bytes_bucket{le="+Inf"} 2
        bytes_sum 4096.5
        bytes_count 2

        """)
  }
}
