internal import LinuxHeaps

/// Every buffer, and who holds it: as many lines as the holders need.
struct BufferTable {
  let head: StyledLine
  let lines: [StyledLine]

  /// - Parameter columns: Of the screen. Names give way to holders where both lack room.
  init(
    _ report: HoldersReport, _ order: BufferOrder, isReversed: Bool, columns: Int, glyphs: Glyphs
  ) {
    let buffers = order.sorted(report.buffers, reversed: isReversed)
    let isDown = order.isDescending != isReversed
    let heads = BufferOrder.allCases.map {
      $0.rawValue.uppercased()
        + ($0 == order ? isDown ? glyphs.descending : glyphs.ascending : "")
    }
    let rows = buffers.map { buffer in
      [
        glyphs.shown(buffer.heap ?? "?").cut(to: 20, mark: glyphs.cut),
        buffer.sizeBytes?.asByteCount ?? "?", buffer.referenceCount.map { "\($0)" } ?? "-",
        "\(buffer.holders.count)", buffer.name.map(glyphs.shown) ?? "-",
      ]
    }
    let figures = Table(heads.dropLast(), rows.map { $0.dropLast() }).lines
    let figuresWidth = (figures.map(\.displayWidth).max() ?? 0) + 2
    let nameRoom = max(8, columns - figuresWidth - 2 - 26)
    let table = Table(
      heads + ["HELD BY"],
      rows.map { $0.dropLast() + [$0[$0.count - 1].cut(to: nameRoom, mark: glyphs.cut), ""] }
    ).lines
    let width = table[0].displayWidth - "HELD BY".count
    head = StyledLine(table[0], .heading)
    guard !buffers.isEmpty else {
      lines = [StyledLine("no buffers")]
      return
    }
    lines = zip(table.dropFirst(), buffers).flatMap { line, buffer in
      StyledLine.wrapped(
        buffer.holderParts(glyphs), to: max(16, columns - width), separator: " "
      ).enumerated().map { index, holders in
        StyledLine((index == 0 ? line : "").padded(to: width)) + holders
      }
    }
  }
}

extension HoldersReport.Buffer {
  /// `weston 812 (2 fd, 1 map),`: never none.
  fileprivate func holderParts(_ glyphs: Glyphs) -> [StyledLine] {
    var parts = holders.map { holder in
      let held = [(holder.descriptors, "fd"), (holder.mappings, "map")].filter { $0.0 > 0 }
        .map { "\($0) \($1)" }.joined(separator: ", ")
      return "\(glyphs.shown(holder.program)) \(holder.process) (\(held))"
    }
    let importers = devices.isEmpty ? "" : glyphs.shown(devices.joined(separator: ", "))
    if let heldBeyond, heldBeyond > 0 {
      parts.append("beyond processes \(heldBeyond)" + (importers.isEmpty ? "" : " (\(importers))"))
    } else if !importers.isEmpty {
      parts.append("imported by \(importers)")
    }
    guard let last = parts.popLast() else { return [StyledLine("-")] }
    return parts.map { StyledLine($0 + ",") } + [StyledLine(last)]
  }
}
