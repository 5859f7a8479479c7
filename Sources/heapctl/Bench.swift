internal import ArgumentParser
internal import CLibrary
internal import FoundationEssentials
internal import HeapReport
internal import LinuxHeaps

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures allocation, mapping, filling, syncing and reclaiming.",
    discussion: """
      Each buffer is allocated, mapped, filled to the last byte, bracketed once by the two calls of DMA_BUF_IOCTL_SYNC with nothing \
      between them, unmapped and deleted; reclaiming lasts from the deletion until the memory has gone back. A percentile is a time \
      that was measured. The histogram's first bar is of the times from FROM to twice that, and each further one of twice as long.
      """)

  @OptionGroup var choice: HeapChoice

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Sizes, separated by commas.", valueName: "sizes"))
  var sizes = "\(pageSize >> 10)K,1M,8M"

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Buffers of each size, on each heap.", valueName: "count"))
  var rounds = 50

  @Option(
    help: ArgumentHelp(
      "Write the same figures as an SVG file too, atomically.", valueName: "file"))
  var svg: String?

  @OptionGroup var output: OutputChoice

  func validate() throws {
    _ = try parsedSizes()
    if rounds < 1 { throw ValidationError("--rounds must be at least 1") }
    if svg == "" { throw ValidationError("--svg requires a file's name") }
  }

  private func parsedSizes() throws -> [UInt64] {
    let words = sizes.split(separator: ",", omittingEmptySubsequences: false)
    return try words.map { word in
      guard let size = UInt64(byteSize: String(word)) else {
        throw ValidationError("--sizes: '\(word)' is not a size; use e.g. 4K,1M,8M")
      }
      return size
    }
  }

  func run() async throws {
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
    if output.json {
      try showJSON(report, named: "bench")
    } else {
      let heads = ["HEAP", "SIZE", "STEP", "P50", "P95", "P99", "MAX", "FROM", "HISTOGRAM"]
      table(heads, report.rows.map(\.cells)).forEach(heapctl.show)
    }
    for warning in report.warnings { tell("the machine is noisy: \(warning)") }
  }
}

extension BenchReport.Row {
  fileprivate var cells: [String] {
    let times = nanoseconds
    let samples = times.histogram.map { UInt64($0.samples) }
    return [heap.visible, sizeBytes.asByteCount, step]
      + [times.p50, times.p95, times.p99, times.max, times.histogram[0].fromNanoseconds]
      .map(\.asTime) + [bars(samples, of: samples.max() ?? 1)]
  }
}

/// One buffer's life, step by step, with the time that each took.
struct BenchRound {
  enum Step: String, CaseIterable {
    case allocate
    case map
    /// Every byte written; a memfd takes its pages here, where a dma-buf has them already.
    case fill
    /// Both calls of `DMA_BUF_IOCTL_SYNC`, with nothing between them; no call for a memfd.
    case sync
    /// From the close of the last mapping to the end of `deleteVmo`.
    case reclaim
  }

  let heap: any LocalHeap
  let settings: SingleBufferSettings
  let size: UInt64

  func run(_ index: UInt64) async throws(HeapError) -> [Step: UInt64] {
    var times: [Step: UInt64] = [:]
    var last = MonotonicTime.now
    func lap() -> UInt64 {
      let now = MonotonicTime.now
      defer { last = now }
      return now.nanoseconds - last.nanoseconds
    }
    let vmo = try heap.allocateVmo(
      size: size, settings: settings, bufferCollectionID: UInt64(getpid()), bufferIndex: index)
    times[.allocate] = lap()
    if vmo.kind != .opaque { try Self.use(vmo, &times, lap) }
    last = MonotonicTime.now
    try await heap.deleteVmo(
      bufferCollectionID: UInt64(getpid()), bufferIndex: index, vmo: vmo)
    times[.reclaim] = lap()
    return times
  }

  private static func use(
    _ vmo: borrowing VMO, _ times: inout [Step: UInt64], _ lap: () -> UInt64
  ) throws(HeapError) {
    let mapping = try vmo.map()
    times[.map] = lap()
    var access = try mapping.writeAccess()
    fill(&access)
    try access.end()
    times[.fill] = lap()
    try mapping.writeAccess().end()
    times[.sync] = lap()
  }

  private static func fill(_ access: inout CPUAccess<ReadWrite>) {
    var span = access.mutableBytes
    unsafe span.withUnsafeMutableBytes { bytes in
      _ = unsafe memset(bytes.baseAddress!, 0x5a, bytes.count)
    }
  }
}

/// What else the machine did while times were taken.
struct MachineNoise {
  private let steal: UInt64
  private let total: UInt64

  init() {
    // "cpu  user nice system idle iowait irq softirq steal guest guest_nice" (proc(5)); guest time is
    // part of user time.
    let text = (try? SmallFile.read("/proc/stat")) ?? ""
    let line = text.prefix { $0 != "\n" }
    let fields = line.split(separator: " ").dropFirst().prefix(8).compactMap { UInt64($0) }
    steal = fields.count == 8 ? fields[7] : 0
    total = fields.reduce(0, +)
  }

  /// Reasons to doubt times that were taken since this value was made.
  func warnings() -> [String] {
    let now = MachineNoise()
    var warnings: [String] = []
    let passed = now.total - min(total, now.total)
    let stolen = now.steal - min(steal, now.steal)
    if passed > 0, stolen * 100 > passed {
      warnings.append("\(stolen * 100 / passed) % of the processors' time went to other guests")
    }
    let load = ((try? SmallFile.read("/proc/loadavg")) ?? "").split(separator: " ").first
    let processors = sysconf(CInt(_SC_NPROCESSORS_ONLN))
    if let load, let value = Double(load), value > Double(processors) {
      warnings.append("the load is \(load) on \(processors.counted("processor", "processors"))")
    }
    return warnings
  }
}
