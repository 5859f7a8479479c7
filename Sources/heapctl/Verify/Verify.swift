internal import ArgumentParser
internal import Glibc
internal import HeapReport
internal import HeapTestKit
internal import LinuxHeaps

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs the checks that a heap must pass, on the heaps named or on all.",
    discussion: """
      The report tells the machine, its heaps and what each check found: as text; for kernel test \
      harnesses (ktap); for continuous integration (junit); for programs (json); or as one page to \
      attach to a bug report (html).
      """)

  @OptionGroup var choice: HeapChoice

  @OptionGroup var service: ServiceChoice

  @Option(help: ArgumentHelp("The report's format.", valueName: "format"))
  var format: Format?

  @Flag(help: "The same as --format json.")
  var json = false

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("Write the report to a file, whole or not at all.", valueName: "file"))
  var output: String?

  @Option(
    help: ArgumentHelp(
      "Repeat the run that had this seed: the order of the checks and what they write.",
      valueName: "number"))
  var seed: UInt32?

  @Option(
    help: ArgumentHelp(
      "Run nothing: show the report in this file (json or html) in another format.",
      valueName: "file"))
  var from: String?

  @OptionGroup var color: ColorChoice

  enum Format: String, CaseIterable, ExpressibleByArgument {
    case text
    case ktap
    case junit
    case json
    case html
  }

  func validate() throws {
    try service.validate(against: choice)
    if json && format != nil && format != .json {
      throw ValidationError("--json and --format \(format!.rawValue) exclude each other")
    }
    if output == "" || from == "" { throw ValidationError("a file's name is not empty") }
    if from != nil && (!choice.names.isEmpty || service.socket != nil || seed != nil) {
      throw ValidationError("--from runs nothing: it excludes --heap, --socket and --seed")
    }
  }

  func run() async throws {
    let output = try reportingFile { try ReportOutput(path: self.output) }
    if let from {
      try reportingFile { try output.write(chosen.text(of: try ReportOutput.read(from))) }
      return
    }
    // Text needs no end to be read: each line comes when its check is done.
    let streams = chosen == .text && self.output == nil
    let run = VerifyRun(seed: seed ?? .random(in: 0 ... .max), streams: streams)
    try await reporting { try await run.check(choice: choice, service: service) }
    if chosen == .json || chosen == .html { await run.measure() }
    let report = run.report
    if streams {
      show(report.summary)
    } else {
      try reportingFile { try output.write(chosen.text(of: report)) }
    }
    if let path = self.output { tell("\(report.summary); the report is in \(path)") }
    if report.count(.fail) > 0 { throw Ending.refused }
  }

  private var chosen: Format { json ? .json : format ?? .text }
}

extension Verify.Format {
  func text(of report: Report) throws -> String {
    switch self {
    case .text: report.text
    case .ktap: report.ktap
    case .junit: report.junit
    case .json: try report.json
    case .html: try report.html
    }
  }
}
