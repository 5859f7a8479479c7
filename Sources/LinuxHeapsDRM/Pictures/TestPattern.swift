/// Pictures that show at a glance what is wrong: colours exchanged, rows skewed, upside down.
package enum TestPattern: String, CaseIterable, Sendable {
  /// Eight bars, from white to black, above a ramp of grey.
  case bars
  /// Red grows to the right, blue to the left, green downwards in sixteen steps.
  case gradient
}

extension TestPattern: Picture {
  private static let colors = [
    RGB(255, 255, 255), RGB(255, 255, 0), RGB(0, 255, 255), RGB(0, 255, 0),
    RGB(255, 0, 255), RGB(255, 0, 0), RGB(0, 0, 255), RGB(0, 0, 0),
  ]

  package func color(x: Int, y: Int, width: Int, height: Int) -> RGB {
    let ramp = UInt8(width > 1 ? x * 255 / (width - 1) : 0)
    switch (self, band(y: y, height: height)) {
    case (.bars, 0): return Self.colors[x * 8 / width]
    case (.bars, _): return RGB(ramp, ramp, ramp)
    case (.gradient, let band): return RGB(ramp, UInt8(band * 17), 255 - ramp)
    }
  }

  package func band(y: Int, height: Int) -> Int {
    switch self {
    case .bars: y * 4 / height < 3 ? 0 : 1
    case .gradient: y * 16 / height
    }
  }
}
