internal import Foundation

/// One measured number.
package struct Figure {
  package enum Unit: String {
    case microseconds = "µs"
    case milliseconds = "ms"
    case mebibytes = "MiB"
    case percent = "%"
    case times = ""
    case count = "in 20 s"

    /// Digits after the point that mean something.
    fileprivate var digits: Int {
      switch self {
      case .count: 0
      case .microseconds: 1
      default: 2
      }
    }
  }

  fileprivate let name: String
  fileprivate let value: Double
  fileprivate let unit: Unit
  fileprivate let target: Double?

  /// - Parameter target: At most this is wanted; nil for a number that only explains others.
  package init(_ name: String, _ value: Double, _ unit: Unit, target: Double? = nil) {
    self.name = name
    self.value = value
    self.unit = unit
    self.target = target
  }

  /// Nil where nothing is wanted.
  fileprivate var isMet: Bool? { target.map { value <= $0 } }

  fileprivate var line: String {
    let text = String(format: "%.\(unit.digits)f", value)
    var line = "   " + name.padded(to: 36)
    line += String(repeating: " ", count: max(10 - text.count, 0)) + text
    line += " " + unit.rawValue.padded(to: 4)
    if let target, let isMet {
      let limit = target == target.rounded() ? "\(Int(target))" : "\(target)"
      line += "at most \("\(limit) \(unit.rawValue)".padded(to: 9))\(isMet ? "met" : "missed")"
    }
    while line.last == " " { line.removeLast() }
    return line
  }

  /// Names are plain ASCII, so nothing needs escaping.
  fileprivate var json: String {
    var fields = [
      #""name": "\#(name)""#, #""value": \#(value)"#, #""unit": "\#(unit.rawValue)""#,
    ]
    if let target, let isMet { fields += [#""target": \#(target)"#, #""met": \#(isMet)"#] }
    return "      {\(fields.joined(separator: ", "))}"
  }
}

/// What was found: the scenarios in order, each with its figures in order.
package struct Report {
  private var findings: [(letter: String, title: String, figures: [Figure])] = []

  package init() {}

  package mutating func add(_ figures: [Figure], _ letter: String, _ title: String) {
    findings.append((letter, title, figures))
  }

  /// No target was missed.
  package var isMet: Bool { findings.allSatisfy { $0.figures.allSatisfy { $0.isMet != false } } }

  package var table: String {
    var lines: [String] = []
    for (letter, title, figures) in findings {
      lines.append("\(letter)  \(title)")
      lines += figures.map(\.line) + [""]
    }
    return lines.joined(separator: "\n")
  }

  package var json: String {
    let scenarios = findings.map { letter, title, figures in
      """
          {"scenario": "\(letter)", "title": "\(title)", "figures": [
      \(figures.map(\.json).joined(separator: ",\n"))
          ]}
      """
    }
    return """
      {"scenarios": [
      \(scenarios.joined(separator: ",\n"))
      ]}

      """
  }
}

extension String {
  fileprivate func padded(to width: Int) -> String {
    self + String(repeating: " ", count: max(width - count, 0))
  }
}
