internal import HeapDoctor
internal import LinuxHeaps

/// A diagnosis as lines: one for each area that is all right, and more where something is not.
struct DoctorText {
  let lines: [String]

  init(_ diagnosis: Diagnosis, verbose: Bool) {
    let place = diagnosis.container.map { " in a container (\($0))" } ?? ""
    var lines = ["heapctl doctor on Linux \(diagnosis.kernel), as \(diagnosis.user)\(place)", ""]
    for area in Area.allCases {
      let findings = diagnosis.findings(in: area)
      guard !findings.isEmpty else { continue }
      let shown = verbose ? findings : findings.filter { $0.severity >= .warning }
      if shown.isEmpty {
        let first = findings.min { $0.severity < $1.severity } ?? findings[0]
        lines.append(Self.line(first.severity, area, first.seen))
      }
      for finding in shown {
        lines.append(Self.line(finding.severity, area, finding.seen))
        if finding.severity == .ok { continue }
        lines.append("\(Self.indent)why: \(finding.why.printable)")
        if let fix = finding.fix { lines.append("\(Self.indent)fix: \(fix.printable)") }
        lines.append("\(Self.indent)id:  \(finding.id)")
      }
    }
    self.lines = lines + ["", Self.summary(diagnosis, verbose)]
  }

  private static let indent = String(repeating: " ", count: 21)

  private static func line(_ severity: Severity, _ area: Area, _ text: String) -> String {
    let tint: Tint? =
      switch severity {
      case .ok: .good
      case .note: nil
      case .warning: .doubtful
      case .broken: .bad
      }
    let word = pad(severity == .broken ? "BROKEN" : severity.rawValue, 9)
    return (tint.map { word.painted($0) } ?? word) + pad(area.rawValue, 12) + text.printable
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: width - text.count)
  }

  private static func summary(_ diagnosis: Diagnosis, _ verbose: Bool) -> String {
    func counted(_ severity: Severity, _ one: String, _ many: String) -> String {
      let count = diagnosis.count(severity)
      return "\(count) \(count == 1 ? one : many)"
    }
    return "\(diagnosis.count(.broken)) broken, " + counted(.warning, "warning", "warnings") + ", "
      + counted(.note, "note", "notes") + (verbose ? "" : " (--verbose shows all)")
  }
}
