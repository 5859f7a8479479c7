internal import ArgumentParser
internal import CLibrary
internal import FoundationEssentials
internal import HeapReport
internal import HeapTestKit
internal import LinuxHeaps
internal import SystemPackage

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs every check that a heap must pass, on the given heaps or on all.",
    discussion: """
      The report describes the machine, its heaps and the result of each check: as text; for kernel test \
      harnesses (ktap); for continuous integration (junit); for programs (json); or as one page to \
      attach to a bug report (html).
      """)

  @OptionGroup var choice: HeapChoice

  @OptionGroup var service: ServiceChoice

  @Option(
    name: .customLong("check"), parsing: .upToNextOption,
    help: ArgumentHelp("Only these checks, by their names.", valueName: "name"),
    completion: .list(HeapCheck.all.map(\.name)))
  var checks: [String] = []

  @Flag(help: "Run no checks: list them, each with what must hold.")
  var list = false

  @Option(help: ArgumentHelp("The report's format.", valueName: "format"))
  var format: Format?

  @Flag(help: "The same as --format json.")
  var json = false

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("Write the report to a file, atomically.", valueName: "file"),
    completion: .file())
  var output: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Repeat the run with this seed: the order of the checks and the bytes they write.",
      valueName: "number"))
  var seed: UInt32?

  @Option(
    help: ArgumentHelp(
      "Run no checks: convert the report in this file (json or html) to another format.",
      valueName: "file"), completion: .file())
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
      throw ValidationError("--json cannot be combined with --format \(format!.rawValue)")
    }
    if output == "" || from == "" {
      throw ValidationError("--output and --from require a file's name")
    }
    let isRun = !choice.names.isEmpty || service.socket != nil || seed != nil || !checks.isEmpty
    if from != nil && (isRun || list) {
      throw ValidationError(
        "--from cannot be combined with --heap, --socket, --seed, --check or --list: it runs no check"
      )
    }
    let chosen = json ? Format.json : format ?? .text
    if list && (isRun || output != nil || chosen != .text && chosen != .json) {
      throw ValidationError("--list can be combined with --json alone")
    }
    if let name = checks.first(where: { name in !HeapCheck.all.contains { $0.name == name } }) {
      throw ValidationError("there is no check '\(name)'; see heapctl verify --list")
    }
  }

  func run() async throws {
    if list { return try tellChecks() }
    // Whether it can be written is to be known before anything long begins.
    let file = try output.map { try OutputFile("write the report", at: $0) }
    if let from { return try write(Self.read(from), to: file) }
    // Text needs no end to be read: each line comes when its check is done.
    let streams = chosen == .text && file == nil
    let run = VerifyRun(seed: seed ?? .random(in: 0 ... .max), streams: streams)
    try await run.check(choice: choice, service: service, only: checks)
    if chosen == .json || chosen == .html { await run.measure() }
    let report = run.finished()
    if streams {
      show(report.summary)
    } else {
      try write(report, to: file)
    }
    if let path = output { tell("\(report.summary); the report is in \(path)") }
    if report.count(.fail) > 0 { throw ExitCode(.failure) }
  }

  private var chosen: Format { json ? .json : format ?? .text }

  private func tellChecks() throws {
    struct Row: Encodable {
      let name: String
      let claim: String
    }
    let rows = HeapCheck.all.map { Row(name: $0.name, claim: $0.claim) }
    if chosen == .json { return try showJSON(rows, named: "checks") }
    table(["CHECK", "WHAT MUST HOLD"], rows.map { [$0.name, $0.claim] }).forEach(show)
  }

  /// - Parameter file: Nil for standard output.
  private func write(_ report: Report, to file: OutputFile?) throws {
    let text =
      switch chosen {
      case .text: report.text
      case .ktap: report.ktap
      case .junit: report.junit
      case .json: try report.json
      case .html: try report.html
      }
    if let file { return try file.write(Array(text.utf8)) }
    show(text.hasSuffix("\n") ? String(text.dropLast()) : text)
  }

  private static func read(_ path: String) throws(HeapError) -> Report {
    let operation = "read the report"
    let text: String
    do throws(Errno) {
      text = try SmallFile.read(path, limit: 64 << 20)
    } catch {
      throw HeapError(
        error, operation, at: path,
        fix: error == .permissionDenied
          ? "name one that this user may read" : "name a file that verify wrote")
    }
    do throws(Report.Unreadable) {
      return try Report(reading: text)
    } catch {
      throw HeapError(
        .invalidArgs, operation, at: path, cause: "\(error)",
        fix: "name a file of verify --format json or html")
    }
  }
}

/// One run of the checks, and what it found so far.
private final class VerifyRun {
  private(set) var report: Report
  private let streams: Bool
  private let progress: Progress
  private let noise = MachineNoise()
  private var heaps: [HeapUnderTest] = []

  /// - Parameter streams: Whether a result is shown as soon as it is there.
  init(seed: UInt32, streams: Bool) {
    self.streams = streams
    progress = Progress(besideLines: streams)
    report = Report(
      kernelRelease: kernelRelease, date: Date.now.formatted(.iso8601), seed: seed,
      machine: .read())
  }

  func finished() -> Report {
    let warnings = noise.warnings()
    report.machine.noise = warnings.isEmpty ? nil : warnings.joined(separator: "; ")
    return report
  }

  /// - Parameter names: Of the checks to run; empty for all.
  func check(choice: HeapChoice, service: ServiceChoice, only names: [String]) async throws {
    let served = try await service.heapsUnderTest()
    heaps = if let served { served } else { try choice.heapsUnderTest() }
    let entries = HeapCatalog().heaps()
    report.heaps = heaps.map { heap in
      Report.Heap(heap, entry: entries.first { $0.name == heap.name })
    }
    if service.socket == nil, choice.names.isEmpty { entries.forEach(skipIfClosed) }
    let seed = UInt64(report.seed)
    let plan = heaps.flatMap { heap in
      HeapCheck.all(for: heap, orderedBy: seed)
        .filter { names.isEmpty || names.contains($0.name) }.map { (heap, $0) }
    }
    if plan.isEmpty {
      throw HeapError(
        .notSupported, "run \(names.joined(separator: ", "))",
        cause: "it says nothing of " + heaps.map(\.name.visible).joined(separator: ", "),
        fix: "name another \(service.socket == nil ? "--heap" : "--socket")")
    }
    for (number, (heap, check)) in zip(1..., plan) {
      progress.show("\(number) of \(plan.count): \(heap.name.visible) \(check.name)")
      let start = ContinuousClock.now
      let outcome = await check.run(on: heap, seed: seed)
      let time = ContinuousClock.now - start
      progress.clear()
      add(Report.Result(heap: heap, check: check, outcome: outcome, time: time))
    }
  }

  /// Reports a heap that this user, or any, cannot check.
  private func skipIfClosed(_ entry: HeapEntry) {
    let reason: String
    if entry.role == .protected {
      reason = "the processor cannot look into protected memory"
    } else if !entry.isUsable, let refusal = HeapCatalog().refusal(of: entry.name, among: [entry]) {
      reason = "\(entry.path.string) \(refusal.seen)"
    } else {
      return
    }
    report.heaps.append(Report.Heap(entry))
    add(
      Report.Result(
        heap: entry.name, check: "all", claim: "every check that a heap must pass",
        outcome: .skip, reason: reason))
  }

  /// Sizes from one page to more than the system heap's largest piece (1 MiB).
  private static let sizes = [pageSize] + [64 << 10, 1 << 20, 8 << 20].filter { $0 > pageSize }
  private static let samples = 50

  func measure() async {
    for heap in heaps {
      for size in Self.sizes {
        progress.show("latency of \(size.asByteCount) on \(heap.name.visible)")
        let (times, refusal) = await heap.allocationTimes(of: size, count: Self.samples)
        report.latencies.append(
          Report.Latency(
            heap: heap.name, sizeBytes: size, nanoseconds: times.map(\.nanoseconds),
            reason: refusal.map { "\($0)" }))
        progress.clear()
      }
    }
  }

  private func add(_ result: Report.Result) {
    report.results.append(result)
    if streams {
      show(result.paintedLine)
      result.deviceLines.forEach(show)
    }
  }
}

extension Report.Result {
  fileprivate init(
    heap: HeapUnderTest, check: HeapCheck, outcome: HeapCheck.Outcome, time: Duration
  ) {
    let (word, reason, answers): (Report.Outcome, String?, [DeviceAnswer]) =
      switch outcome {
      case .passed(let answers): (.pass, nil, answers)
      case .failed(let reason): (.fail, reason, [])
      case .skipped(let reason): (.skip, reason, [])
      }
    self.init(
      heap: heap.name, check: check.name, claim: check.claim, outcome: word, reason: reason,
      nanoseconds: time.nanoseconds,
      devices: answers.isEmpty
        ? nil : answers.map { Report.DeviceAnswer(device: $0.device, answer: $0.answer) })
  }

  fileprivate var paintedLine: String {
    let tint: Tint =
      switch outcome {
      case .pass: .good
      case .fail: .bad
      case .skip: .doubtful
      }
    let word = outcome.rawValue
    return word.painted(tint) + line.dropFirst(word.count)
  }
}

extension Duration {
  fileprivate var nanoseconds: UInt64 {
    let (seconds, attoseconds) = components
    return UInt64(clamping: seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
  }
}

extension Report.Heap {
  fileprivate init(_ entry: HeapEntry) {
    self.init(name: entry.name, kind: "dma-buf heap", usable: entry.isUsable)
    role = entry.role.rawValue
    path = entry.path.string
    duplicateOf = entry.duplicateOf
    mode = entry.node?.octalMode
    owner = entry.node?.owner
    group = entry.node?.group
    capacityBytes = entry.capacity
    freeBytes = entry.free
  }

  /// A heap with its node, or one that has none: built in, or served by another process.
  fileprivate init(_ heap: HeapUnderTest, entry: HeapEntry?) {
    if let entry {
      self.init(entry)
    } else {
      self.init(name: heap.name, kind: heap.kind.rawValue)
    }
  }
}
