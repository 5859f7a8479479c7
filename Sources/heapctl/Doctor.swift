internal import ArgumentParser
internal import HeapDoctor
internal import LinuxHeaps

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Tells why allocation fails here, or could fail, and how to mend it.",
    discussion: """
      Exit status: 1 when something is broken, 0 otherwise. Run it as the user that shall allocate; \
      root sees more and may more.
      """)

  @Flag(help: "Print JSON.")
  var json = false

  @Flag(name: .shortAndLong, help: "Show all findings, those that are as they should be too.")
  var verbose = false

  @Flag(
    help: "Find the largest free piece of each contiguous region by allocating it for a moment.")
  var probe = false

  @Option(
    help: ArgumentHelp(
      "Examine the files of a machine that lie under this directory.", valueName: "directory",
      visibility: .hidden))
  var root = ""

  @OptionGroup var color: ColorChoice

  struct Report: Encodable {
    let kernel: String
    let user: String
    let container: String?
    /// The gravest of all.
    let severity: Severity
    let findings: [Finding]
  }

  func run() throws {
    let diagnosis = Diagnosis(of: Machine(root: root), probing: probe)
    if json {
      let report = Report(
        kernel: diagnosis.kernel, user: diagnosis.user, container: diagnosis.container,
        severity: diagnosis.findings.map(\.severity).max() ?? .ok, findings: diagnosis.findings)
      try JSONReport(body: report, name: "doctor").show()
    } else {
      for line in DoctorText(diagnosis, verbose: verbose).lines { show(line) }
    }
    if diagnosis.isBroken { throw Ending.refused }
  }
}
