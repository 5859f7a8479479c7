internal import LinuxHeaps

/// The steps of each size on one heap, row by row.
struct BenchPlot {
  static let width = 1000
  static let margin = 24

  let rows: [BenchReport.Row]
  let axis: LogAxis
  /// Where its heading begins.
  let top: Int

  private static let rowHeight = 26
  /// Between two sizes.
  private static let gap = 8
  private static let figures: [(head: String, right: Int)] = [
    ("p50", 742), ("p95", 820), ("p99", 898), ("max", 976),
  ]

  /// What ``PlotStyle`` does not have.
  static let style: Markup = """
    svg { font-family: system-ui, "Noto Sans", "Liberation Sans", sans-serif; }
    svg .ground { fill: var(--card); }
    svg .title { font-size: 22px; font-weight: 600; }
    svg .heap { font-size: 16px; font-weight: 600; }
    svg .fact, svg .step { fill: var(--soft); }
    svg .doubt { fill: var(--skip); font-weight: 600; }
    svg .figure { text-anchor: end; }
    svg .bars { fill: var(--accent); opacity: 0.55; }
    svg .rule { stroke: var(--line); }
    svg .mark { stroke: var(--ink); stroke-width: 1.5; }
    svg .slowest { fill: var(--ink); }
    """

  private var sizes: [[BenchReport.Row]] { rows.chunked { $0.sizeBytes == $1.sizeBytes } }

  private var firstRow: Int { top + 28 }
  private var lastRow: Int {
    firstRow + rows.count * Self.rowHeight + (sizes.count - 1) * Self.gap
  }
  /// Where the axis's labels end.
  var bottom: Int { lastRow + 22 }

  var markup: Markup {
    let heads: [Markup] = Self.figures.map { head, right in
      "<text class=\"head figure\" x=\"\(right)\" y=\"\(top + 18)\">\(head)</text>\n"
    }
    var y = firstRow
    let groups: [Markup] = sizes.map { rows in
      let rows: [Markup] = zip(0..., rows).map { index, row in
        defer { y += Self.rowHeight }
        return markup(of: row, at: y, isFirst: index == 0)
      }
      y += Self.gap
      return "\(rows)"
    }
    return """
      <text class="heap" x="\(Self.margin)" y="\(top + 18)">\(rows[0].heap)</text>
      \(heads)\(grid)\(groups)
      """
  }

  private var grid: Markup {
    let lines: [Markup] = axis.decades.map { exponent in
      let x = axis.position(ofDecade: exponent).coordinate
      return """
        <line class="grid" x1="\(x)" x2="\(x)" y1="\(firstRow)" y2="\(lastRow)"/>
        <text class="tick" x="\(x)" y="\(lastRow + 16)" text-anchor="middle">\(axis.label(ofDecade: exponent))</text>

        """
    }
    return "\(lines)"
  }

  private func markup(of row: BenchReport.Row, at y: Int, isFirst: Bool) -> Markup {
    let times = row.nanoseconds
    let floor = y + Self.rowHeight - 3
    let middle = y + Self.rowHeight / 2 + 4
    func x(_ time: UInt64) -> String { axis.position(of: time).coordinate }
    let size = isFirst ? row.sizeBytes.asByteCount : ""
    let figures: [Markup] = zip(Self.figures, [times.p50, times.p95, times.p99, times.max]).map {
      "<text class=\"figure\" x=\"\($0.right)\" y=\"\(middle)\">\($1.asTime)</text>\n"
    }
    return """
      <g class="row">
      <title>\(description(of: row))</title>
      <text class="size" x="\(Self.margin)" y="\(middle)">\(size)</text>
      <text class="step" x="112" y="\(middle)">\(row.step)</text>
      <line class="rule" x1="\(axis.left.coordinate)" x2="\(axis.right.coordinate)" y1="\(floor)" y2="\(floor)"/>
      <g class="bars">\(bars(of: times, on: floor))</g>
      <line class="mark" x1="\(x(times.p50))" x2="\(x(times.max))" y1="\(floor)" y2="\(floor)"/>
      <line class="median" x1="\(x(times.p50))" x2="\(x(times.p50))" y1="\(y + 2)" y2="\(floor + 1)"/>
      <line class="mark p95" x1="\(x(times.p95))" x2="\(x(times.p95))" y1="\(floor - 8)" y2="\(floor)"/>
      <line class="mark p99" x1="\(x(times.p99))" x2="\(x(times.p99))" y1="\(floor - 8)" y2="\(floor)"/>
      <circle class="slowest" cx="\(x(times.max))" cy="\(floor)" r="3"/>
      \(figures)</g>

      """
  }

  private func bars(of times: LatencySummary, on floor: Int) -> [Markup] {
    let most = times.histogram.map(\.samples).max() ?? 1
    return times.histogram.filter { $0.samples > 0 }.map { bucket in
      let left = axis.position(of: bucket.fromNanoseconds)
      let width = axis.position(of: 2 * bucket.fromNanoseconds) - left
      // One sample among very many is still to be seen.
      let height = max(Double((Self.rowHeight - 6) * bucket.samples) / Double(most), 1)
      return """
        <rect x="\(left.coordinate)" y="\((Double(floor) - height).coordinate)" \
        width="\((width - 1).coordinate)" height="\(height.coordinate)"/>
        """
    }
  }

  /// All figures, for who hears the picture or points at a row.
  private func description(of row: BenchReport.Row) -> String {
    let times = row.nanoseconds
    let buckets = times.histogram.filter { $0.samples > 0 }.map {
      "\($0.samples) from \($0.fromNanoseconds.asTime)"
    }
    return "\(row.heap), \(row.sizeBytes.asByteCount), \(row.step): median \(times.p50.asTime), "
      + "95 percent under \(times.p95.asTime), 99 percent under \(times.p99.asTime), "
      + "slowest \(times.max.asTime). Of \(times.samples): \(buckets.joined(separator: ", "))"
  }
}
