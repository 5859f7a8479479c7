internal import HeapReport
internal import HeapTestKit
internal import LinuxHeaps

struct StressRows: Encodable {
  let seed: UInt32
  let heaps: [StressRow]
}

/// What is told of a run on one heap.
struct StressRow: Encodable {
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

  init(_ heap: String, _ report: StressReport) {
    self.heap = heap
    steps = report.steps
    let digits = String(report.digest, radix: 16)
    digest = String(repeating: "0", count: 16 - digits.count) + digits
    limitBytes = report.limit
    allocatedBytes = report.bytes
    mostLiveBuffers = report.mostBuffers
    mostLiveBytes = report.mostBytes
    refusedAllocations = report.refused
    actions = Dictionary(
      uniqueKeysWithValues: StressReport.Kind.allCases.map {
        ($0.rawValue, report.counts[$0] ?? 0)
      })
    devices = report.devices
    referenceCountsCompared = report.countsCompared
    lookedAtKernelsList = report.lookedAtList
    endedEarly = report.wasEnded
    failure = report.failure
    leaks = report.leaks
    repeatedBy = "heapctl stress --heap \(heap) --seed \(report.seed) --steps \(max(1, steps))"
  }

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

  /// For standard error.
  var complaints: [String] {
    guard !hasPassed else { return [] }
    return [
      "heapctl: stress \(heap.visible): \(failure ?? "leaked: \(leaks.joined(separator: "; "))")"
        + ". To repeat it: \(repeatedBy)"
    ]
  }
}
