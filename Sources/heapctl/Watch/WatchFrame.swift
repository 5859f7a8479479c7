internal import HeapSurvey
internal import LinuxHeaps

/// One picture of the whole screen.
struct WatchFrame {
  let lines: [StyledLine]

  /// - Parameter machine: What it is called.
  init(
    _ snapshot: Snapshot, _ history: HeapHistory, machine: String, view: inout WatchView,
    size: ScreenSize, glyphs: Glyphs
  ) {
    let columns = size.columns
    // On a small screen figures come before air.
    let gap = size.rows < 16 ? [] : [StyledLine()]
    let head =
      Self.title(machine, snapshot, isPaused: view.isPaused, columns, glyphs)
      + StyledLine.wrapped(snapshot.totals(glyphs), to: columns)
      + snapshot.pressureLine(columns)
      + gap
      + HeapTable(
        snapshot, history, room: max(1, size.rows / 4), columns: columns, glyphs: glyphs
      ).lines
      + gap
    let table = BufferTable(
      snapshot.report, view.order, isReversed: view.isReversed, columns: columns, glyphs: glyphs)
    let notes = StyledLine.wrapped(
      words: snapshot.report.notes.joined(separator: "; "), .doubtful, to: columns)

    let help = view.showsHelp ? Self.longHelp(columns) : [Self.shortHelp(view)]
    let room = max(0, size.rows - head.count - 1 - notes.count - help.count)
    let window = view.window(of: table.lines.count, room: room)
    let range =
      window.count < table.lines.count
      ? "lines \(window.lowerBound + 1)-\(window.upperBound) of \(table.lines.count)" : ""
    let bottom = notes + help.dropLast() + [Self.spread(help[help.count - 1], range, columns)]

    let body = head + [table.head] + table.lines[window]
    let most = max(0, size.rows - bottom.count)
    let above = body.prefix(most) + Array(repeating: StyledLine(), count: max(0, most - body.count))
    lines = (above + bottom.suffix(size.rows)).map { $0.cut(to: columns, mark: glyphs.cut) }
  }

  private static func title(
    _ machine: String, _ snapshot: Snapshot, isPaused: Bool, _ columns: Int, _ glyphs: Glyphs
  ) -> [StyledLine] {
    let time = isPaused ? "PAUSED at \(snapshot.time)" : snapshot.time
    let name = glyphs.shown(machine).cut(to: columns - time.count - 2, mark: glyphs.cut)
    let gap = String(repeating: " ", count: max(0, columns - name.displayWidth - time.count))
    return [StyledLine(name, .heading) + StyledLine(gap) + StyledLine(time, isPaused ? .bad : nil)]
  }

  private static func shortHelp(_ view: WatchView) -> StyledLine {
    StyledLine(
      "q quit   ? keys   space \(view.isPaused ? "go on" : "pause")   < > sort   r reverse")
  }

  private static func longHelp(_ columns: Int) -> [StyledLine] {
    StyledLine.wrapped(
      [
        "q Esc: quit", "space p: pause", "left right < > or 1 to 5: sort by a column",
        "r: reverse", "up down k j PgUp PgDn Home End g G: scroll", "Ctrl-L: draw anew",
        "h ?: less help",
      ].map { StyledLine($0) }, to: columns)
  }

  /// The second text at the right edge, where both have room.
  private static func spread(_ line: StyledLine, _ right: String, _ columns: Int) -> StyledLine {
    let gap = columns - line.width - right.count
    return gap < 2 ? line : line + StyledLine(String(repeating: " ", count: gap) + right)
  }
}

extension Snapshot {
  fileprivate func totals(_ glyphs: Glyphs) -> [StyledLine] {
    let bytes = heaps.reduce(0 as UInt64) { $0.plus($1.bytes) }
    let buffers = "\(report.buffers.count.counted("buffer", "buffers")), \(bytes.asByteCount)"
    var parts =
      switch process {
      case nil: [StyledLine(buffers)]
      case .running(let id)?: [StyledLine("of process \(id): \(buffers)")]
      case .ended(let id)?: [StyledLine("process \(id) has ended", .bad)]
      }
    if let memory {
      parts.append(
        StyledLine(
          "memory \(memory.available.asByteCount) of \(memory.total.asByteCount) available"))
      parts.append(
        StyledLine(
          memory.contiguousTotal == 0
            ? "no contiguous region"
            : "contiguous \(memory.contiguousFree.asByteCount) of "
              + "\(memory.contiguousTotal.asByteCount) free"))
    }
    return parts
  }

  /// As much as has room on one line, the memory's first.
  func pressureLine(_ columns: Int) -> [StyledLine] {
    let told = Pressure.Resource.allCases.compactMap { resource in
      (try? pressure[resource]?.get()).map {
        StyledLine("\(resource.rawValue) ") + $0.line(resource)
      }
    }
    guard !told.isEmpty else {
      guard case .failure(let error)? = pressure[.memory] else { return [] }
      return StyledLine.wrapped(
        words: "this kernel tells no pressure (\(Pressure.Resource.memory.path): \(error)): "
          + "it needs CONFIG_PSI, and psi=1 on its command line", .doubtful, to: columns)
    }
    let parts = [StyledLine("pressure (% of 10 s, 60 s)")] + told
    let line = StyledLine.wrapped(parts, to: columns)[0]
    // The figures, and not only what they are.
    return [line == parts[0] ? StyledLine("pressure ") + told[0] : line]
  }
}

extension Pressure {
  /// The kernel sets the processors' full pressure to 0.
  fileprivate func line(_ resource: Resource) -> StyledLine {
    let some = some.line("some", .doubtful)
    guard let full, resource != .cpu else { return some }
    return some + StyledLine(", ") + full.line("full", .bad)
  }
}

extension Pressure.Share {
  /// Tinted from one percent on.
  fileprivate func line(_ name: String, _ tint: Tint) -> StyledLine {
    StyledLine("\(name) \(tenSeconds) \(minute)", tenSeconds.hundredths >= 100 ? tint : nil)
  }
}
