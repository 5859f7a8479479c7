internal import LinuxHeaps

extension Report {
  /// For each heap a plot, and a table with the same figures for who cannot see it.
  var latencySection: Markup {
    if latencies.isEmpty { return "" }
    let gaps: [Markup] = latencies.compactMap { latency in
      latency.reason.map {
        """
        <p class="note">\(latency.sizeBytes.asByteCount) on <code>\(latency.heap)</code> was measured \
        \(latency.nanoseconds.count) times: \($0)</p>

        """
      }
    }
    return Page.section("latency", "Latency of allocations", "\(latencyPlots)\(gaps)")
  }

  private var latencyPlots: Markup {
    let measured = latencies.filter { !$0.nanoseconds.isEmpty }
    if measured.isEmpty { return "" }
    let axis = LogAxis(covering: measured.flatMap(\.nanoseconds), left: 70, right: 420)
    let figures: [Markup] = measured.map(\.heap).withoutRepetition.map { heap in
      LatencyPlot(heap: heap, rows: measured.filter { $0.heap == heap }, axis: axis).markup
    }
    return """
      <p class="note">Each dot is one allocation, on the same logarithmic scale for all heaps; the bar spans \
      5 to 95 percent of them, the stroke is the median. The kernel zeroes a dma-buf when it is made; \
      a memfd gets its pages only when they are touched.</p>
      <div class="plots">
      \(figures)</div>

      """
  }
}
