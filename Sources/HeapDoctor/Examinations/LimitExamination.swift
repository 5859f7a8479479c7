internal import LinuxHeaps

/// Limits of this process (getrlimit(2)), by /proc/self/limits.
enum LimitExamination {
  static func findings(_ machine: Machine, _ trial: Trial) -> [Finding] {
    let limits = machine.files.text("/proc/self/limits") ?? ""
    let found = [
      descriptors(limit("Max open files", limits), areUsed: trial.lacksDescriptors),
      addressSpace(limit("Max address space", limits)),
    ]
    return found.compactMap { $0 }
  }

  /// `.max` where there is none.
  private struct Limit {
    let soft: UInt64
    let hard: UInt64

    /// As a shell sets it, for itself and what it starts. Above the hard limit that takes root (setrlimit(2)).
    func raised(to wanted: UInt64, _ letter: String, _ option: String) -> String {
      let limit = wanted == .max ? "unlimited" : "\(wanted)"
      if wanted <= hard { return "ulimit -S\(letter) \(limit)" }
      return "sudo prlimit --pid $$ --\(option)=\(limit):\(limit)"
    }
  }

  /// Nil where the file does not tell.
  private static func limit(_ name: String, _ text: String) -> Limit? {
    let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
    guard let words = line?.dropFirst(name.count).split(separator: " "), words.count > 1 else {
      return nil
    }
    return Limit(soft: UInt64(words[0]) ?? .max, hard: UInt64(words[1]) ?? .max)
  }

  /// - Parameter areUsed: Whether none was left for a buffer.
  private static func descriptors(_ limit: Limit?, areUsed: Bool) -> Finding {
    let why =
      "each buffer takes two descriptors of the process that allocates, and one for each slice"
    guard let limit, limit.soft < 256 || areUsed else {
      let number = limit.flatMap { $0.soft == .max ? nil : "\($0.soft)" }
      return Finding(
        .ok, .limits, "limits.descriptors", seen: "\(number ?? "any number of") descriptors",
        why: why)
    }
    let wanted = max(4096, areUsed ? 2 * min(limit.soft, 1 << 19) : 0)
    return Finding(
      limit.soft < 32 || areUsed ? .broken : .warning, .limits, "limits.descriptors",
      seen: "this process may open \(limit.soft) descriptors"
        + (areUsed ? ", and whoever started it left too few for a buffer" : ""),
      why: why + ": then EMFILE",
      fix: limit.raised(to: wanted, "n", "nofile") + "  # or LimitNOFILE=\(wanted) in the unit")
  }

  private static func addressSpace(_ limit: Limit?) -> Finding? {
    guard let limit, limit.soft != .max else { return nil }
    return Finding(
      .warning, .limits, "limits.address-space",
      seen: "this process may map \(limit.soft.asByteCount)",
      why: "mapped buffers count: mmap(2) fails with ENOMEM beyond it",
      fix: limit.raised(to: .max, "v", "as"))
  }
}
