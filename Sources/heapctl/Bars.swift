/// Figures as a row of bars.
enum Bars {
  static let levels: [Character] = Array("▁▂▃▄▅▆▇█")

  /// The lowest bar for 0, the highest for `most`.
  static func text(
    _ figures: some Sequence<UInt64>, of most: UInt64, levels: [Character] = levels
  ) -> String {
    let top = levels.count - 1
    return String(
      figures.map { figure in
        let level = Double(figure) / Double(max(most, 1)) * Double(top)
        return levels[min(top, Int(level.rounded(.up)))]
      })
  }
}
