/// One measured number.
struct Figure {
  enum Unit: String {
    case microseconds = "µs"
    case milliseconds = "ms"
    case mebibytes = "MiB"
    case percent = "%"
    case times = ""

    /// Digits after the point that mean something.
    var digits: Int {
      switch self {
      case .microseconds: 1
      case .times, .milliseconds, .mebibytes, .percent: 2
      }
    }
  }

  let name: String
  let value: Double
  let unit: Unit
  /// At most this is wanted; nil for a number that only explains others.
  let target: Double?

  init(_ name: String, _ value: Double, _ unit: Unit, target: Double? = nil) {
    self.name = name
    self.value = value
    self.unit = unit
    self.target = target
  }

  /// Nil where nothing is wanted.
  var isMet: Bool? { target.map { value <= $0 } }
}

/// What one scenario found.
struct Findings {
  let scenario: Scenario
  let figures: [Figure]
}
