internal import ArgumentParser
internal import Glibc
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

  @OptionGroup var color: ColorChoice

  struct Row: Encodable {
    let heap: String
    let sizeBytes: UInt64
    let step: String
    let nanoseconds: LatencySummary
  }

  struct Report: Encodable {
    let rounds: Int
    /// Reasons to doubt the times.
    let warnings: [String]
    let rows: [Row]
  }

  func validate() throws {
    _ = try parsedSizes()
    if rounds < 1 { throw ValidationError("--rounds is at least 1") }
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

  func run() async throws { try await reporting { try await measure() } }

  private func measure() async throws {
    let noise = MachineNoise()
    var rows: [Row] = []
    var warnings: [String] = []
    for chosen in choice.heaps() {
      let name = chosen.name
      for size in try parsedSizes() {
        let round = BenchRound(heap: chosen.heap, settings: chosen.settings, size: size)
        // The first buffer starts the reclaimer's thread and opens what stays open.
        _ = try await round.run(0)
        var times: [BenchRound.Step: [UInt64]] = [:]
        for index in 1...rounds {
          progress("\(name) \(size.asByteCount): \(index) of \(rounds)")
          for (step, time) in try await round.run(UInt64(index)) {
            times[step, default: []].append(time)
          }
        }
        for step in BenchRound.Step.allCases {
          guard let durations = times[step] else { continue }
          rows.append(
            Row(
              heap: name, sizeBytes: size, step: step.rawValue,
              nanoseconds: LatencySummary(durations)))
          if let spread = Self.spread(durations) {
            warnings.append("\(name) \(size.asByteCount) \(step.rawValue): \(spread)")
          }
        }
      }
    }
    progress("")
    show(Report(rounds: rounds, warnings: noise.warnings() + warnings, rows: rows))
  }

  /// Says where one half of the rounds took twice as long as the other.
  private static func spread(_ durations: [UInt64]) -> String? {
    guard durations.count >= 8 else { return nil }
    let half = durations.count / 2
    let first = LatencySummary(Array(durations.prefix(half))).p50
    let second = LatencySummary(Array(durations.suffix(half))).p50
    guard max(first, second) > 2 * min(first, second) else { return nil }
    return "the rounds' halves have medians of \(first.asDuration) and \(second.asDuration)"
  }

  /// One line that each call writes over, where a person looks on.
  private func progress(_ text: String) {
    guard isatty(STDERR_FILENO) == 1 else { return }
    let bytes = Array("\r\u{1b}[K\(text)".utf8)
    _ = unsafe bytes.withUnsafeBytes {
      unsafe write(STDERR_FILENO, $0.baseAddress!, $0.count)
    }
  }

  private func show(_ report: Report) {
    if json {
      try? JSONReport(body: report, name: "bench").show()
    } else {
      let heads = ["HEAP", "SIZE", "STEP", "P50", "P95", "P99", "MAX", "FROM", "HISTOGRAM"]
      for line in Table(heads, report.rows.map(\.cells)).lines { heapctl.show(line) }
    }
    for warning in report.warnings { tell("the machine is noisy: \(warning)") }
  }
}

extension Bench.Row {
  fileprivate var cells: [String] {
    let times = nanoseconds
    return [heap, sizeBytes.asByteCount, step]
      + [times.p50, times.p95, times.p99, times.max, times.histogram[0].fromNanoseconds]
      .map(\.asDuration) + [times.bars]
  }
}
