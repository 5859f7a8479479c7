internal import ArgumentParser
internal import HeapTestKit
internal import LinuxHeaps

struct Stress: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs random operations on heaps, checked against a model of what must be alive.",
    discussion: """
      Allocates, slices, maps, writes, reads, passes to other processes, imports into vgem and vkms, \
      kills those processes, closes and deletes. The seed, the heap and the devices \
      determine every operation; a failed run prints how to repeat it.
      """)

  @OptionGroup var choice: HeapChoice
  @OptionGroup var service: ServiceChoice

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Seconds on each heap; 10 unless --steps is given.", valueName: "number")
  )
  var seconds: UInt32?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Number of steps on each heap.", valueName: "number"))
  var steps: UInt32?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Repeat the run with this seed.", valueName: "number"))
  var seed: UInt32?

  @OptionGroup var output: OutputChoice

  func validate() throws {
    try service.validate(against: choice)
    if seconds != nil && steps != nil {
      throw ValidationError("--seconds cannot be combined with --steps")
    }
    if seconds == 0 || steps == 0 { throw ValidationError("a run takes at least 1 second or step") }
  }

  func run() async throws {
    let signal = try SignalPipe()
    let seed = self.seed ?? .random(in: 0 ... .max)
    let end: StressRun.End =
      steps.map { .steps(Int($0)) } ?? .time(.seconds(Int(seconds ?? 10)))
    if !output.json { show("seed \(seed)") }
    let progress = Progress(besideLines: !output.json)
    var rows: [StressRow] = []
    for (name, heap, settings, capacity) in try await subjects() {
      let run = try await StressRun(
        heap: heap, name: name, settings: settings, seed: UInt64(seed),
        limit: Self.limit(capacity: capacity))
      let report = try await run.run(until: end, isEnded: { signal.wait(for: .zero) }) { step in
        if step % 64 == 0 { progress.show("\(name.visible): step \(step)") }
      }
      progress.clear()
      let digits = String(report.digest, radix: 16)
      let row = StressRow(
        heap: name, steps: report.steps,
        digest: String(repeating: "0", count: 16 - digits.count) + digits,
        limitBytes: report.limit, allocatedBytes: report.bytes,
        mostLiveBuffers: report.mostBuffers, mostLiveBytes: report.mostBytes,
        refusedAllocations: report.refused,
        actions: Dictionary(
          uniqueKeysWithValues: StressReport.Kind.allCases.map {
            ($0.rawValue, report.counts[$0] ?? 0)
          }),
        devices: report.devices, referenceCountsCompared: report.countsCompared,
        lookedAtKernelsList: report.lookedAtList, endedEarly: report.wasEnded,
        failure: report.failure, leaks: report.leaks,
        repeatedBy: "heapctl stress "
          + (service.socket.map { "--socket \($0.shellWord)" } ?? "--heap \(name)")
          + " --seed \(seed) --steps \(max(1, report.steps))")
      rows.append(row)
      if !output.json { row.lines.forEach(show) }
      if !row.hasPassed { tell(row.complaint) }
      if report.wasEnded { break }
    }
    if output.json { try showJSON(StressRows(seed: seed, heaps: rows), named: "stress") }
    if rows.contains(where: { !$0.hasPassed }) { throw ExitCode(.failure) }
    signal.obeyNext()
  }

  private typealias Subject = (
    name: String, heap: any Heap, settings: SingleBufferSettings, capacity: UInt64?
  )

  private func subjects() async throws -> [Subject] {
    guard let served = try await service.heapsUnderTest() else {
      return choice.heaps().map { ($0.name, $0.heap, $0.settings, $0.capacity) }
    }
    return try served.map { ($0.name, try $0.make(), $0.settings, nil) }
  }

  /// 64 MiB, or less on a small machine or of a small region: always the same for the same machine, because
  /// what a run does follows from it.
  private static func limit(capacity: UInt64?) -> UInt64 {
    let memory = (try? MachineMemory.read())?.total ?? .max
    return min(64 << 20, memory / 16, (capacity ?? .max) / 4)
  }
}

private struct StressRows: Encodable {
  let seed: UInt32
  let heaps: [StressRow]
}

/// What is told of a run on one heap.
private struct StressRow: Encodable {
  let heap: String
  let steps: Int
  /// In base 16; the same for runs that did the same.
  let digest: String
  let limitBytes: UInt64
  let allocatedBytes: UInt64
  let mostLiveBuffers: Int
  let mostLiveBytes: UInt64
  let refusedAllocations: Int
  let actions: [String: Int]
  let devices: [String]
  let referenceCountsCompared: Int
  let lookedAtKernelsList: Bool
  let endedEarly: Bool
  let failure: String?
  let leaks: [String]
  /// The command that does the same again.
  let repeatedBy: String

  var hasPassed: Bool { failure == nil && leaks.isEmpty }

  var lines: [String] {
    var lines = [
      "\(heap.visible): \(steps.counted("step", "steps"))\(endedEarly ? ", ended early" : "")"
        + ", digest \(digest)"
    ]
    // What is done to a buffer's handles and bytes, and what takes another process or a device.
    let kinds = StressReport.Kind.allCases
    let half = kinds.firstIndex(of: .pass)!
    for kinds in [kinds[..<half], kinds[half...]] {
      let done = kinds.compactMap { kind in
        let count = actions[kind.rawValue] ?? 0
        return count > 0 ? "\(kind.rawValue) \(count)" : nil
      }
      if !done.isEmpty { lines.append("  " + done.joined(separator: ", ")) }
    }
    lines.append(
      "  \(allocatedBytes.asByteCount) allocated; live at most: "
        + "\(mostLiveBuffers.counted("buffer", "buffers")), \(mostLiveBytes.asByteCount)")
    if !devices.isEmpty { lines.append("  imported into \(devices.joined(separator: ", "))") }
    if referenceCountsCompared > 0 {
      lines.append("  the kernel's count was the model's \(referenceCountsCompared) times")
    }
    if refusedAllocations > 0 {
      lines.append(
        "  no room for \(refusedAllocations.counted("buffer", "buffers")), which the run did without"
      )
    }
    if let failure { lines.append("  \("failed".painted(.bad)): \(failure)") }
    lines.append(
      leaks.isEmpty
        ? "  \("nothing leaked".painted(.good))"
        : "  \("leaked".painted(.bad)): \(leaks.joined(separator: "; "))")
    return lines
  }

  /// Of a run that has not passed, for standard error.
  var complaint: String {
    "heapctl: stress \(heap.visible): \(failure ?? "leaked: \(leaks.joined(separator: "; "))")"
      + ". To repeat it: \(repeatedBy)"
  }
}
