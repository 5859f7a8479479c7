public import CoreMetrics

extension PrometheusRegistry {
  public func makeCounter(
    label: String, dimensions: [(String, String)]
  ) -> any CounterHandler {
    metric(.counter, label, dimensions, make: CounterMetric.init)
  }

  public func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler {
    metric(.counter, label, dimensions, make: CounterMetric.init)
  }

  public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    metric(.gauge, label, dimensions, make: GaugeMetric.init)
  }

  public func makeRecorder(
    label: String, dimensions: [(String, String)], aggregate: Bool
  ) -> any RecorderHandler {
    guard aggregate else { return metric(.gauge, label, dimensions, make: GaugeMetric.init) }
    return metric(.amounts, label, dimensions) { HistogramMetric($0, .amounts) }
  }

  public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    metric(.durations, label, dimensions) { HistogramMetric($0, .durations) }
  }

  public func destroyCounter(_ handler: any CounterHandler) { release(handler) }

  public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {
    release(handler)
  }

  public func destroyMeter(_ handler: any MeterHandler) { release(handler) }

  public func destroyRecorder(_ handler: any RecorderHandler) { release(handler) }

  public func destroyTimer(_ handler: any TimerHandler) { release(handler) }
}
