internal import LinuxHeaps

/// The distribution of allocation latency on one heap: a row for each size.
struct LatencyPlot {
  let heap: String
  let rows: [Report.Latency]
  let axis: LogAxis

  private static let width = 640
  private static let rowHeight = 34
  private static let top = 24

  private var bottom: Int { Self.top + rows.count * Self.rowHeight }

  var markup: Markup {
    let rows: [Markup] = zip(0..., self.rows).map { row($1, at: Self.top + $0 * Self.rowHeight) }
    return """
      <figure>
      <figcaption><code>\(heap)</code></figcaption>
      <svg viewBox="0 0 \(Self.width) \(bottom + 24)" role="img" aria-label="\(description)">
      <text class="head" x="\(Self.width - 150)" y="14" text-anchor="end">median</text>
      <text class="head" x="\(Self.width - 75)" y="14" text-anchor="end">95 %</text>
      <text class="head" x="\(Self.width)" y="14" text-anchor="end">slowest</text>
      \(grid)\(rows)</svg>
      </figure>

      """
  }

  /// All figures, for who hears the page.
  private var description: String {
    "Allocation latency of \(heap). "
      + rows.map { row in
        "\(row.sizeBytes.asByteCount): median \(row.figure(50)), 95 percent under \(row.figure(95)), "
          + "slowest \(row.figure(100))."
      }.joined(separator: " ")
  }

  private var grid: Markup {
    let lines: [Markup] = axis.decades.map { exponent in
      let x = axis.position(ofDecade: exponent).coordinate
      return """
        <line class="grid" x1="\(x)" x2="\(x)" y1="\(Self.top)" y2="\(bottom)"/>
        <text class="tick" x="\(x)" y="\(bottom + 16)" text-anchor="middle">\(axis.label(ofDecade: exponent))</text>

        """
    }
    return "\(lines)"
  }

  private func row(_ latency: Report.Latency, at y: Int) -> Markup {
    let middle = y + Self.rowHeight / 2
    func x(_ percent: Int) -> Double { axis.position(of: latency.percentile(percent) ?? 0) }
    let width = max(x(95) - x(5), 2)
    let dots: [Markup] = zip(0..., latency.nanoseconds).map { index, time in
      // Spread over the row's height, always in the same way.
      let offset = index * 7 % 17 - 8
      return """
        <circle cx="\(axis.position(of: time).coordinate)" cy="\(middle + offset)" r="2"/>
        """
    }
    return """
      <text class="size" x="0" y="\(middle + 4)">\(latency.sizeBytes.asByteCount)</text>
      <rect class="span" x="\(x(5).coordinate)" y="\(middle - 11)" width="\(width.coordinate)" height="22" rx="3"/>
      <g class="dots">\(dots)</g>
      <line class="median" x1="\(x(50).coordinate)" x2="\(x(50).coordinate)" y1="\(middle - 13)" y2="\(middle + 13)"/>
      <text class="figure" x="\(Self.width - 150)" y="\(middle + 4)" text-anchor="end">\(latency.figure(50))</text>
      <text class="figure" x="\(Self.width - 75)" y="\(middle + 4)" text-anchor="end">\(latency.figure(95))</text>
      <text class="figure" x="\(Self.width)" y="\(middle + 4)" text-anchor="end">\(latency.figure(100))</text>

      """
  }
}

extension Report.Latency {
  fileprivate func figure(_ percent: Int) -> String { percentile(percent)?.asTime ?? "–" }
}
