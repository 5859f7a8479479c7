internal import LinuxHeaps

/// A line for each heap, its history at the end.
struct HeapTable {
  let lines: [StyledLine]

  /// - Parameter room: The most lines below the heading.
  init(_ snapshot: Snapshot, _ history: HeapHistory, room: Int, columns: Int, glyphs: Glyphs) {
    // A heap whose last buffer went has its history still.
    let known = Set(snapshot.heaps.map(\.name))
    let former = history.samples.keys.filter { !known.contains($0) }.map { Snapshot.Heap(name: $0) }
    let heaps = (snapshot.heaps + former).sorted { $0.name < $1.name }
    var shown = heaps
    if shown.count > room {
      // Those that have or had buffers, before those that never had.
      let used = shown.filter { history.most(of: $0.name) > 0 }
      let others = shown.filter { history.most(of: $0.name) == 0 }
      shown = (used + others).prefix(room - 1).sorted { $0.name < $1.name }
    }
    let hasRegions = shown.contains { $0.capacity != nil }
    let table = Table(
      ["HEAP", "BUFFERS", "BYTES", "MOST"] + (hasRegions ? ["FREE", "OF"] : []) + ["HISTORY"],
      shown.map { heap in
        [
          glyphs.shown(heap.name).cut(to: max(8, columns / 4), mark: glyphs.cut),
          "\(heap.buffers)", heap.bytes.asByteCount, history.most(of: heap.name).asByteCount,
        ] + (hasRegions ? [heap.free, heap.capacity].map { $0?.asByteCount ?? "-" } : []) + [""]
      }
    ).lines
    let width = table[0].displayWidth - "HISTORY".count
    var lines = [StyledLine(table[0], .heading)]
    for (line, heap) in zip(table.dropFirst(), shown) {
      let bars = Bars.text(
        history.last(columns - width, of: heap.name), of: history.most(of: heap.name),
        levels: glyphs.levels)
      lines.append(StyledLine(line.padded(to: width)) + StyledLine(bars, .good))
    }
    let rest = heaps.count - shown.count
    if rest > 0 { lines.append(StyledLine("and \(rest.counted("heap", "heaps")) more")) }
    self.lines = lines
  }
}
