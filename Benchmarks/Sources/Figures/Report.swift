internal import Foundation

/// One measured number.
package struct Figure {
  package enum Unit: String {
    case microseconds = "µs"
    case milliseconds = "ms"
    case mebibytes = "MiB"
    case bytes = "B"
    case percent = "%"
    case times = ""
    case count = "in 20 s"
    case calls = "calls"
    case rounds = "rounds"
    case instructions = "instr."
    case allocations = "allocs"

    /// Digits after the point that mean something.
    fileprivate var digits: Int {
      switch self {
      case .count, .rounds, .bytes, .instructions: 0
      case .microseconds, .calls, .allocations: 1
      default: 2
      }
    }
  }

  fileprivate let name: String
  /// Nil where this machine has nothing to measure.
  fileprivate let value: Double?
  /// Why there is no value.
  fileprivate let reason: String
  fileprivate let unit: Unit
  fileprivate let target: Double?
  private let isLeast: Bool

  /// - Parameter target: At most this is wanted; nil for a number that only explains others.
  package init(_ name: String, _ value: Double, _ unit: Unit, target: Double? = nil) {
    self.init(name, value, unit, target, isLeast: false)
  }

  /// - Parameter target: At least this is wanted.
  package init(_ name: String, _ value: Double, _ unit: Unit, atLeast target: Double?) {
    self.init(name, value, unit, target, isLeast: true)
  }

  private init(_ name: String, _ value: Double, _ unit: Unit, _ target: Double?, isLeast: Bool) {
    self.name = name
    self.value = value
    self.unit = unit
    self.target = target
    self.isLeast = isLeast
    reason = ""
  }

  /// One that this machine does not have.
  package init(_ name: String, absent reason: String) {
    self.name = name
    self.reason = reason
    value = nil
    unit = .times
    target = nil
    isLeast = false
  }

  /// Nil where there is no value.
  private var text: String? {
    value.map { String(format: "%.\(unit.digits)f", $0) }
  }

  /// Of the value as it is printed. Nil where nothing is wanted.
  fileprivate var isMet: Bool? {
    guard let text, let target else { return nil }
    return isLeast ? Double(text)! >= target : Double(text)! <= target
  }

  fileprivate var line: String {
    var line = "   " + name.padded(to: 36)
    guard let text else { return line + " " + reason }
    line += String(repeating: " ", count: max(10 - text.count, 0)) + text
    line += " " + unit.rawValue.padded(to: 8)
    if let target, let isMet {
      let limit = target == target.rounded() ? "\(Int(target))" : "\(target)"
      line += isLeast ? "at least " : "at most "
      line += "\(limit) \(unit.rawValue)".padded(to: 14) + (isMet ? "met" : "missed")
    }
    while line.last == " " { line.removeLast() }
    return line
  }

  /// Names are plain ASCII, so nothing needs escaping.
  fileprivate var json: String {
    guard let value else {
      return #"      {"name": "\#(name)", "value": null, "reason": "\#(reason)"}"#
    }
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
