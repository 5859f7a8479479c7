internal import LinuxHeaps

extension BenchReport {
  /// One picture that needs no other file: machine, and a row for each step of each size on each heap.
  ///
  /// - Parameter date: When the run was: UTC, `2026-01-31T12:00:00Z`.
  package func svg(kernelRelease: String, date: String, machine: Report.Machine) -> String {
    let title = "heapctl bench on Linux \(kernelRelease)"
    var y = 26
    var body: [Markup] = []
    func add(_ words: String, _ style: Markup) {
      for line in words.wrapped(to: 125) {
        y += 18
        body.append(
          """
          <text class="\(style)" x="\(BenchPlot.margin)" y="\(y)">\(line)</text>

          """)
      }
    }
    add(title, "title")
    y += 8
    let shown = ["model", "processor", "memory", "distribution"]
    let facts = machine.facts.filter { shown.contains($0.id) }
    for fact in facts { add("\(fact.label): \(fact.value)", "fact") }
    add("\(date), \(rounds) buffers of each size", "fact")
    y += 8
    add(
      "Bars: how many took that long, in steps of a factor of two, the fullest of a row as high as the row. "
        + "Stroke: the median. Ticks: 95 and 99 percent were not slower. Dot: the slowest.", "head")
    let times = rows.flatMap { row in
      row.nanoseconds.histogram.flatMap { [$0.fromNanoseconds, 2 * $0.fromNanoseconds] }
    }
    let axis = LogAxis(covering: times, left: 190, right: 650)
    for rows in rows.chunked(by: { $0.heap == $1.heap }) {
      let plot = BenchPlot(rows: rows, axis: axis, top: y + 24)
      body.append(plot.markup)
      y = plot.bottom
    }
    if !warnings.isEmpty {
      y += 12
      add("The machine was noisy:", "doubt")
      for warning in warnings { add(warning, "fact") }
    }
    y += 24
    let picture: Markup = """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(BenchPlot.width) \(y)" \
      width="\(BenchPlot.width)" height="\(y)" role="img" aria-labelledby="title">
      <title id="title">\(title)</title>
      <style>
      \(Palette.style)
      \(Palette.plotStyle)
      \(BenchPlot.style)
      </style>
      <rect class="ground" width="100%" height="100%"/>
      \(body)</svg>

      """
    return picture.text
  }
}

extension String {
  /// Cut at spaces into lines of at most so many characters, where that can be done: SVG does not wrap.
  fileprivate func wrapped(to length: Int) -> [String] {
    var lines: [String] = []
    for word in split(separator: " ") {
      if let last = lines.last, last.count + 1 + word.count <= length {
        lines[lines.count - 1] += " " + word
      } else {
        lines.append(String(word))
      }
    }
    return lines
  }
}

extension Array {
  /// Neighbours that belong together, in their order.
  fileprivate func chunked(by belongs: (Element, Element) -> Bool) -> [[Element]] {
    reduce(into: []) { chunks, element in
      if let last = chunks.last?.last, belongs(last, element) {
        chunks[chunks.count - 1].append(element)
      } else {
        chunks.append([element])
      }
    }
  }
}

/// The steps of each size on one heap, row by row.
private struct BenchPlot {
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

  /// What ``Palette/plotStyle`` does not have.
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

  private var sizes: [[BenchReport.Row]] { rows.chunked(by: { $0.sizeBytes == $1.sizeBytes }) }

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
      \(heads)\(axis.grid(from: firstRow, to: lastRow))\(groups)
      """
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

  /// All figures, for screen readers and as the row's tooltip.
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
