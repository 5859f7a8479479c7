internal import LinuxHeaps

extension Report {
  /// A line about the machine.
  struct Fact {
    let id: String
    let label: String
    let value: String
  }
}

extension Report.Machine {
  /// What the machine told, each as one line.
  var facts: [Report.Fact] {
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
    ]
    return candidates.compactMap { id, label, value in
      value.map { Report.Fact(id: id, label: label, value: $0) }
    }
  }

  private func withCount(_ name: String) -> String { processors.map { "\($0) × \(name)" } ?? name }

  private func amount(_ total: UInt64?, _ rest: UInt64?, _ word: String) -> String? {
    guard let total else { return nil }
    if total == 0 { return "none" }
    return total.asByteCount + (rest.map { ", \($0.asByteCount) \(word)" } ?? "")
  }
}
