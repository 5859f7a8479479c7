/// What is printed on standard output.
enum Report {
  static func table(_ all: [Findings]) -> String {
    var lines: [String] = []
    for findings in all {
      lines.append("\(findings.scenario.rawValue)  \(findings.scenario.title)")
      for figure in findings.figures { lines.append(line(figure)) }
      lines.append("")
    }
    return lines.joined(separator: "\n")
  }

  private static func line(_ figure: Figure) -> String {
    let unit = figure.unit.rawValue
    var line = "   \(figure.name.padded(to: 36))"
    line += fixed(figure.value, figure.unit.digits).paddedLeft(to: 10) + " \(unit.padded(to: 4))"
    if let target = figure.target, let isMet = figure.isMet {
      line += "at most \("\(short(target)) \(unit)".padded(to: 9))\(isMet ? "met" : "missed")"
    }
    while line.last == " " { line.removeLast() }
    return line
  }

  /// One object: the scenarios in order, each with its figures in order. Names are plain ASCII, so
  /// nothing needs escaping.
  static func json(_ all: [Findings]) -> String {
    let scenarios = all.map { findings in
      let figures = findings.figures.map { figure in
        var fields = [
          #""name": "\#(figure.name)""#, #""value": \#(figure.value)"#,
          #""unit": "\#(figure.unit.rawValue)""#,
        ]
        if let target = figure.target, let isMet = figure.isMet {
          fields += [#""target": \#(target)"#, #""met": \#(isMet)"#]
        }
        return "      {\(fields.joined(separator: ", "))}"
      }
      return """
            {"scenario": "\(findings.scenario.rawValue)", "title": "\(findings.scenario.title)", \
        "figures": [
        \(figures.joined(separator: ",\n"))
            ]}
        """
    }
    return """
      {"scenarios": [
      \(scenarios.joined(separator: ",\n"))
      ]}

      """
  }

  private static func short(_ value: Double) -> String {
    value == value.rounded() ? "\(Int(value))" : "\(value)"
  }
}

/// A number of at least 0 with so many digits after the point, at least one.
private func fixed(_ value: Double, _ digits: Int) -> String {
  let scale = (0..<digits).reduce(1) { scale, _ in scale * 10 }
  let scaled = Int((value * Double(scale)).rounded())
  let fraction = String(scaled % scale)
  return "\(scaled / scale).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
}

extension String {
  fileprivate func padded(to width: Int) -> String {
    self + String(repeating: " ", count: max(width - count, 0))
  }

  fileprivate func paddedLeft(to width: Int) -> String {
    String(repeating: " ", count: max(width - count, 0)) + self
  }
}
