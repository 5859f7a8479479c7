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
      \(PlotStyle.style)
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
  func chunked(by belongs: (Element, Element) -> Bool) -> [[Element]] {
    reduce(into: []) { chunks, element in
      if let last = chunks.last?.last, belongs(last, element) {
        chunks[chunks.count - 1].append(element)
      } else {
        chunks.append([element])
      }
    }
  }
}
