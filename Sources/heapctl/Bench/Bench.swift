internal import ArgumentParser
internal import FoundationEssentials
internal import HeapReport
internal import LinuxHeaps

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures allocation, mapping, filling, syncing and reclaiming.")

  @OptionGroup var choice: HeapChoice

  @Option(help: ArgumentHelp("Sizes, joined by commas.", valueName: "sizes"))
  var sizes = "4K,1M,8M"

  @Option(help: ArgumentHelp("Buffers of each size, on each heap.", valueName: "count"))
  var rounds = 50

  @Flag(help: "Print JSON.")
  var json = false

  @Option(
    help: ArgumentHelp(
      "Draw the same figures into a file, whole or not at all.", valueName: "file"))
  var svg: String?

  @OptionGroup var color: ColorChoice

  func validate() throws {
    _ = try parsedSizes()
    if rounds < 1 { throw ValidationError("--rounds is at least 1") }
    if svg == "" { throw ValidationError("a file's name is not empty") }
  }

  private func parsedSizes() throws -> [UInt64] {
    let words = sizes.split(separator: ",", omittingEmptySubsequences: false)
    return try words.map { word in
      guard let size = UInt64(byteSize: String(word)) else {
        throw ValidationError("--sizes: '\(word)' is no size; e.g. 4K,1M,8M")
      }
      return size
    }
  }

  func run() async throws { try await reporting { try await report() } }

  private func report() async throws {
    let picture = try svg.map { try OutputFile("write the picture", at: $0) }
    let date = Date.now.formatted(.iso8601)
    let report = try await measure()
    try show(report)
    if let picture {
      let text = report.svg(
        kernelRelease: kernelRelease, date: date, machine: Report.Machine.read())
      try picture.write(Array(text.utf8))
    }
  }

  private func measure() async throws -> BenchReport {
    let noise = MachineNoise()
    let plan = try choice.heaps().flatMap { chosen in
      try parsedSizes().map {
        (chosen.name, BenchRound(heap: chosen.heap, settings: chosen.settings, size: $0))
      }
    }
    // What cannot be had is to be told before minutes are spent on what can. A heap's first buffer also
    // starts the reclaimer's thread and opens what stays open.
    for (_, round) in plan { _ = try await round.run(0) }
    var rows: [BenchReport.Row] = []
    var warnings: [String] = []
    for (name, round) in plan {
      let times = try await times(of: round, on: name)
      for step in BenchRound.Step.allCases {
        guard let durations = times[step] else { continue }
        rows.append(
          BenchReport.Row(
            heap: name, sizeBytes: round.size, step: step.rawValue,
            nanoseconds: LatencySummary(durations)))
        if let spread = Self.spread(durations) {
          warnings.append("\(name) \(round.size.asByteCount) \(step.rawValue): \(spread)")
        }
      }
    }
    return BenchReport(rounds: rounds, warnings: noise.warnings() + warnings, rows: rows)
  }

  private func times(
    of round: BenchRound, on heap: String
  ) async throws -> [BenchRound.Step: [UInt64]] {
    let progress = Progress(besideLines: false)
    defer { progress.clear() }
    var times: [BenchRound.Step: [UInt64]] = [:]
    var shown: ContinuousClock.Instant?
    for index in 1...rounds {
      // No oftener than a person can read: a terminal takes processor time.
      if shown.map({ .now - $0 > .milliseconds(100) }) ?? true {
        progress.show("\(heap.visible) \(round.size.asByteCount): \(index) of \(rounds)")
        shown = .now
      }
      for (step, time) in try await round.run(UInt64(index)) {
        times[step, default: []].append(time)
      }
    }
    return times
  }

  /// Says where one half of the rounds took twice as long as the other.
  private static func spread(_ durations: [UInt64]) -> String? {
    guard durations.count >= 8 else { return nil }
    let half = durations.count / 2
    let first = LatencySummary(Array(durations.prefix(half))).p50
    let second = LatencySummary(Array(durations.suffix(half))).p50
    guard max(first, second) > 2 * min(first, second) else { return nil }
    return "the rounds' halves have medians of \(first.asTime) and \(second.asTime)"
  }

  private func show(_ report: BenchReport) throws {
    if json {
      try JSONReport(body: report, name: "bench").show()
    } else {
      let heads = ["HEAP", "SIZE", "STEP", "P50", "P95", "P99", "MAX", "FROM", "HISTOGRAM"]
      for line in Table(heads, report.rows.map(\.cells)).lines { heapctl.show(line) }
    }
    for warning in report.warnings { tell("the machine is noisy: \(warning)") }
  }
}

extension BenchReport.Row {
  fileprivate var cells: [String] {
    let times = nanoseconds
    return [heap.printable, sizeBytes.asByteCount, step]
      + [times.p50, times.p95, times.p99, times.max, times.histogram[0].fromNanoseconds]
      .map(\.asTime) + [times.bars]
  }
}

extension LatencySummary {
  /// A bar for each bucket: `▁` for none, up to `█` for the fullest.
  fileprivate var bars: String {
    let samples = histogram.map { UInt64($0.samples) }
    return Bars.text(samples, of: samples.max() ?? 1)
  }
}
