/// What stands on the terminal, so that only what changes is written: a line at 115200 baud takes 7 ms.
struct Screen {
  private var size = ScreenSize()
  /// As they were written; nil where nobody knows what the terminal shows.
  private var lines: [String]?

  /// Makes the next update write all.
  mutating func forget() { lines = nil }

  /// What turns what stands there into these lines, as many as the screen has.
  mutating func update(_ new: [StyledLine], _ size: ScreenSize, hasColors: Bool) -> String {
    let old = size == self.size ? lines : nil
    var text = old == nil ? "\u{1b}[H\u{1b}[J" : ""
    var painted: [String] = []
    for (row, line) in new.enumerated() {
      let line = line.cut(to: size.columns, mark: "")
      painted.append(line.painted(hasColors))
      guard old?[row] != painted[row] else { continue }
      // In the last column EL would erase what was just written there.
      let erase = line.width < size.columns ? "\u{1b}[K" : ""
      text += "\u{1b}[\(row + 1);1H" + painted[row] + erase
    }
    self.size = size
    lines = painted
    return text
  }
}
