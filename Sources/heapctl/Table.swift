/// Columns as wide as their widest cell.
struct Table {
  let lines: [String]

  init(_ heads: [String], _ rows: [[String]]) {
    let table = [heads] + rows
    let widths = heads.indices.map { column in table.map { $0[column].displayWidth }.max() ?? 0 }
    lines = table.map { row in
      let cells = zip(row, widths).map { $0.padded(to: $1) }
      let line = cells.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }
  }
}
