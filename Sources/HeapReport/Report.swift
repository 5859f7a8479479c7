internal import LinuxHeaps

/// What one run of checks found, and on what machine: the value that every format is made of.
package struct Report: Codable, Equatable, Sendable {
  /// Rises when a field changes its meaning or goes away.
  package var schemaVersion = 1
  package var kernelRelease: String
  /// When the run began: UTC, `2026-01-31T12:00:00Z`.
  package var date: String
  /// What the order of the checks and their random content follow from.
  package var seed: UInt32
  package var machine: Machine
  package var heaps: [Heap]
  /// In the order in which they ran.
  package var results: [Result]
  /// Empty where the format asked for does not show them.
  package var latencies: [Latency]

  package init(
    kernelRelease: String, date: String, seed: UInt32, machine: Machine, heaps: [Heap] = [],
    results: [Result] = [], latencies: [Latency] = []
  ) {
    self.kernelRelease = kernelRelease
    self.date = date
    self.seed = seed
    self.machine = machine
    self.heaps = heaps
    self.results = results
    self.latencies = latencies
  }

  /// How a check ended, by the word that every format has for it.
  package enum Outcome: String, Codable, Sendable {
    case pass
    case fail
    case skip
  }

  package struct Result: Codable, Equatable, Sendable {
    package var heap: String
    package var check: String
    /// What must hold, in one sentence.
    package var claim: String
    package var outcome: Outcome
    /// What did not hold, or what the machine lacks.
    package var reason: String?
    /// Nil for what never ran.
    package var nanoseconds: UInt64?
    /// Of a check that asks devices.
    package var devices: [DeviceAnswer]?

    package var answers: [DeviceAnswer] { devices ?? [] }

    package init(
      heap: String, check: String, claim: String, outcome: Outcome, reason: String? = nil,
      nanoseconds: UInt64? = nil, devices: [DeviceAnswer]? = nil
    ) {
      self.heap = heap
      self.check = check
      self.claim = claim
      self.outcome = outcome
      self.reason = reason
      self.nanoseconds = nanoseconds
      self.devices = devices
    }
  }

  /// What a device did with the buffer of a check.
  package struct DeviceAnswer: Codable, Equatable, Sendable {
    /// Its node and its driver.
    package var device: String
    package var answer: String

    package init(device: String, answer: String) {
      self.device = device
      self.answer = answer
    }
  }

  /// How long allocations of one size took on one heap.
  package struct Latency: Codable, Equatable, Sendable {
    package var heap: String
    package var sizeBytes: UInt64
    /// One for each allocation, in the order of time.
    package var nanoseconds: [UInt64]
    /// Why there are no more.
    package var reason: String?

    package init(heap: String, sizeBytes: UInt64, nanoseconds: [UInt64], reason: String? = nil) {
      self.heap = heap
      self.sizeBytes = sizeBytes
      self.nanoseconds = nanoseconds
      self.reason = reason
    }
  }
}

// MARK: Questions that several formats ask

extension Report {
  package func count(_ outcome: Outcome) -> Int { results.count { $0.outcome == outcome } }

  /// The heaps that have results, in the order of the machine's list.
  var checkedHeaps: [String] {
    let names = Set(results.map(\.heap))
    return (heaps.map(\.name).filter(names.contains) + results.map(\.heap)).withoutRepetition
  }

  func results(of heap: String) -> [Result] { results.filter { $0.heap == heap } }

  package var summary: String {
    "\(count(.pass)) passed, \(count(.fail)) failed, \(count(.skip)) skipped, seed \(seed)"
  }
}

extension Array where Element: Hashable {
  /// Each element at its first place.
  var withoutRepetition: [Element] {
    var seen: Set<Element> = []
    return filter { seen.insert($0).inserted }
  }
}

extension Report {
  /// What a reader of a bug report asks about the machine first. Nil is what it did not tell.
  package struct Machine: Codable, Equatable, Sendable {
    /// `/proc/version`, with compiler and date of build.
    package var kernelVersion: String?
    package var commandLine: String?
    package var architecture: String?
    /// The board, by its device tree or its firmware.
    package var model: String?
    package var processor: String?
    package var processors: Int?
    package var pageBytes: UInt64?
    package var memoryBytes: UInt64?
    package var availableBytes: UInt64?
    /// All contiguous regions together.
    package var contiguousBytes: UInt64?
    package var contiguousFreeBytes: UInt64?
    package var distribution: String?
    package var user: String?
    /// The program that made the report: its version, commit and compiler.
    package var program: String?
    /// Reasons to doubt the times.
    package var noise: String?
    /// The file that the options are from.
    package var optionsSource: String?
    /// Kernel options by their names without `CONFIG_`; `n` for what is not set.
    package var options: [String: String]

    package init(options: [String: String] = [:]) { self.options = options }
  }

  /// A heap that was checked, or that is here and could not be.
  package struct Heap: Codable, Equatable, Sendable {
    package var name: String
    package var role: String?
    package var kind: String
    package var path: String?
    package var duplicateOf: String?
    package var mode: String?
    package var owner: String?
    package var group: String?
    package var usable: Bool
    package var capacityBytes: UInt64?
    package var freeBytes: UInt64?

    package init(name: String, kind: String, usable: Bool = true) {
      self.name = name
      self.kind = kind
      self.usable = usable
    }
  }
}

extension Report.Machine {
  /// What the machine told, each as one line.
  var facts: [(id: String, label: String, value: String)] {
    let candidates: [(String, String, String?)] = [
      ("model", "Machine", model),
      ("architecture", "Architecture", architecture),
      ("processor", "Processor", processor.map(withCount)),
      ("memory", "Memory", amount(memoryBytes, availableBytes, "available")),
      ("contiguous", "Contiguous memory", amount(contiguousBytes, contiguousFreeBytes, "free")),
      ("pageSize", "Page size", pageBytes?.asByteCount),
      ("distribution", "Distribution", distribution),
      ("user", "Run by", user),
      ("kernelVersion", "Kernel", kernelVersion),
      ("commandLine", "Kernel command line", commandLine),
      ("program", "Report by", program),
      ("noise", "Noise", noise),
    ]
    return candidates.compactMap { id, label, value in
      value.map { (id, label, $0) }
    }
  }

  private func withCount(_ name: String) -> String { processors.map { "\($0) × \(name)" } ?? name }

  private func amount(_ total: UInt64?, _ rest: UInt64?, _ word: String) -> String? {
    guard let total else { return nil }
    if total == 0 { return "none" }
    return total.asByteCount + (rest.map { ", \($0.asByteCount) \(word)" } ?? "")
  }
}
