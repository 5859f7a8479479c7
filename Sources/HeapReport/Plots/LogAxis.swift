internal import Glibc

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

  func position(of value: UInt64) -> Double {
    let exponent = log10(Double(max(value, 1)))
    let share = (exponent - Double(decades.lowerBound)) / Double(decades.count - 1)
    return left + share * (right - left)
  }

  func position(ofDecade exponent: Int) -> Double {
    let share = Double(exponent - decades.lowerBound) / Double(decades.count - 1)
    return left + share * (right - left)
  }

  func label(ofDecade exponent: Int) -> String {
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
