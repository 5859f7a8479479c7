internal import CLibrary

/// Nanoseconds from left to right, each decade as wide as the next.
struct LogAxis {
  let left: Double
  let right: Double
  /// The whole decades that hold all values, by their exponents.
  let decades: ClosedRange<Int>

  init(covering values: [UInt64], left: Double, right: Double) {
    let exponents = values.map { log10(Double(max($0, 1))) }
    let low = Int((exponents.min() ?? 0).rounded(.down))
    let high = Int((exponents.max() ?? 0).rounded(.up))
    decades = low...max(high, low + 1)
    self.left = left
    self.right = right
  }

  func position(of value: UInt64) -> Double { position(ofPower: log10(Double(max(value, 1)))) }

  private func position(ofPower exponent: Double) -> Double {
    let share = (exponent - Double(decades.lowerBound)) / Double(decades.count - 1)
    return left + share * (right - left)
  }

  /// Lines and labels of the decades, between these heights.
  func grid(from top: Int, to bottom: Int) -> Markup {
    let lines: [Markup] = decades.map { exponent in
      let x = position(ofPower: Double(exponent)).coordinate
      return """
        <line class="grid" x1="\(x)" x2="\(x)" y1="\(top)" y2="\(bottom)"/>
        <text class="tick" x="\(x)" y="\(bottom + 16)" text-anchor="middle">\(label(ofDecade: exponent))</text>

        """
    }
    return "\(lines)"
  }

  private func label(ofDecade exponent: Int) -> String {
    let units = ["ns", "µs", "ms", "s"]
    let unit = min(exponent / 3, units.count - 1)
    return (["1", "10", "100", "1000", "10000"][min(exponent - 3 * unit, 4)]) + " " + units[unit]
  }
}

extension Double {
  /// With one digit, as coordinates are written.
  var coordinate: String {
    let tenths = Int((self * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(abs(tenths % 10))"
  }
}

/// The colours of every page and picture.
enum Palette {
  /// Light and dark by what the reader's system asks for.
  static let style: Markup = """
    :root {
      --ground: #f7f6f3; --card: #ffffff; --ink: #1d1c1a; --soft: #625e58; --line: #e2ded7;
      --accent: #0b6a63; --pass: #12663a; --pass-ground: #e6f3eb; --fail: #ffffff;
      --fail-ground: #b3261e; --fail-ink: #9c1c14; --skip: #6d5200; --skip-ground: #fbf0cf;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --ground: #131416; --card: #1b1d20; --ink: #eceae6; --soft: #a8a39b; --line: #33363b;
        --accent: #63d8c9; --pass: #86d9a6; --pass-ground: #16291d; --fail: #ffffff;
        --fail-ground: #b3261e; --fail-ink: #ff9d94; --skip: #f0cf73; --skip-ground: #33290f;
      }
    }
    """

  /// What plots have in common, in a page and in a file of their own.
  static let plotStyle: Markup = """
    svg text { fill: var(--ink); font-size: 13px; font-variant-numeric: tabular-nums; }
    svg .tick, svg .head { fill: var(--soft); font-size: 12px; }
    svg .grid { stroke: var(--line); }
    svg .span { fill: var(--accent); opacity: 0.16; }
    svg .dots { fill: var(--accent); opacity: 0.55; }
    svg .median { stroke: var(--ink); stroke-width: 2.5; }
    """
}
