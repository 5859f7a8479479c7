internal import ArgumentParser
internal import HeapDoctor
internal import LinuxHeaps

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Finds out why allocation fails here, or could fail, and how to fix it.",
    discussion: """
      Exit status: 1 if something is broken, 0 otherwise. Run it as the user that is to allocate: \
      root sees more, and may do more.
      """)

  @Flag(name: .shortAndLong, help: "Show all findings, including what is in order.")
  var verbose = false

  @Flag(
    help: "Find the largest free piece of each contiguous region by allocating it for a moment.")
  var probe = false

  @Option(
    help: ArgumentHelp(
      "Examine the files of a machine that lie under this directory.", valueName: "directory",
      visibility: .hidden))
  var root = ""

  @OptionGroup var output: OutputChoice

  private struct Report: Encodable {
    let kernel: String
    let user: String
    let container: String?
    /// The gravest of all.
    let severity: Severity
    let findings: [Finding]
  }

  func run() throws {
    let diagnosis = Diagnosis(of: Machine(root: root), probing: probe)
    if output.json {
      let report = Report(
        kernel: diagnosis.kernel, user: diagnosis.user, container: diagnosis.container,
        severity: diagnosis.findings.map(\.severity).max() ?? .ok, findings: diagnosis.findings)
      try showJSON(report, named: "doctor")
    } else {
      lines(diagnosis).forEach(show)
    }
    if diagnosis.isBroken { throw ExitCode(.failure) }
  }

  /// One for each area that is all right, and more where something is not.
  private func lines(_ diagnosis: Diagnosis) -> [String] {
    let place = diagnosis.container.map { " in a container (\($0))" } ?? ""
    let indent = String(repeating: " ", count: 21)
    var lines = ["heapctl doctor on Linux \(diagnosis.kernel), as \(diagnosis.user)\(place)", ""]
    for area in Area.allCases {
      let findings = diagnosis.findings(in: area)
      let shown = verbose ? findings : findings.filter { $0.severity >= .warning }
      if shown.isEmpty, let first = findings.min(by: { $0.severity < $1.severity }) {
        lines.append(Self.line(first, area))
      }
      for finding in shown {
        lines.append(Self.line(finding, area))
        if finding.severity == .ok { continue }
        lines.append("\(indent)why: \(finding.why.visible)")
        if let fix = finding.fix { lines.append("\(indent)fix: \(fix.visible)") }
        lines.append("\(indent)id:  \(finding.id)")
      }
    }
    let summary =
      "\(diagnosis.count(.broken)) broken, "
      + diagnosis.count(.warning).counted("warning", "warnings") + ", "
      + diagnosis.count(.note).counted("note", "notes")
    return lines + ["", summary + (verbose ? "" : " (--verbose shows all)")]
  }

  private static func line(_ finding: Finding, _ area: Area) -> String {
    let tint: Tint? =
      switch finding.severity {
      case .ok: .good
      case .note: nil
      case .warning: .doubtful
      case .broken: .bad
      }
    let word = finding.severity == .broken ? "BROKEN" : finding.severity.rawValue
    let cell = word.padded(to: 9)
    return (tint.map { cell.painted($0) } ?? cell) + area.rawValue.padded(to: 12)
      + finding.seen.visible
  }
}
