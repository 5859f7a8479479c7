internal import FoundationEssentials
internal import Glibc
internal import HeapReport
internal import HeapTestKit
internal import LinuxHeaps

/// One run of the checks, and what it found so far.
final class VerifyRun {
  private(set) var report: Report
  private let streams: Bool
  private let progress: Progress
  private var heaps: [HeapUnderTest] = []

  /// - Parameter streams: Whether a result is shown as soon as it is there.
  init(seed: UInt32, streams: Bool) {
    self.streams = streams
    progress = Progress(besideLines: streams)
    report = Report(
      kernelRelease: kernelRelease, date: Date.now.formatted(.iso8601), seed: seed,
      machine: .read())
  }

  func check(choice: HeapChoice, service: ServiceChoice) async throws {
    let selection = try await HeapSelection(choice: choice, service: service)
    heaps = selection.heaps
    let entries = HeapCatalog().heaps()
    report.heaps =
      heaps.map { heap in Report.Heap(heap, entry: entries.first { $0.name == heap.name }) }
      + selection.closed.map { Report.Heap($0.0) }
    for (entry, reason) in selection.closed {
      add(
        Report.Result(
          heap: entry.name, check: "all", claim: "every check that a heap must pass",
          outcome: .skip, reason: reason))
    }
    let seed = UInt64(report.seed)
    let plan = heaps.flatMap { heap in
      HeapCheck.all(for: heap, orderedBy: seed).map { (heap, $0) }
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

  /// Sizes from one page to more than the system heap's largest piece (1 MiB).
  private static let sizes: [UInt64] = [4 << 10, 64 << 10, 1 << 20, 8 << 20]
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
}

extension Report.Result {
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
