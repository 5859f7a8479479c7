internal import LinuxHeaps

/// Limits of this process (getrlimit(2)), by /proc/self/limits.
enum LimitExamination {
  static func findings(_ machine: Machine, _ trial: Trial) -> [Finding] {
    let limits = machine.files.text("/proc/self/limits") ?? ""
    let found = [
      descriptors(soft("Max open files", limits), areUsed: trial.lacksDescriptors),
      addressSpace(soft("Max address space", limits)),
    ]
    return found.compactMap { $0 }
  }

  /// The soft limit; nil for none.
  private static func soft(_ name: String, _ text: String) -> UInt64? {
    text.split(separator: "\n").first { $0.hasPrefix(name) }
      .flatMap { $0.dropFirst(name.count).split(separator: " ").first }
      .flatMap { UInt64($0) }
  }

  /// - Parameter areUsed: Whether none was left for a buffer.
  private static func descriptors(_ limit: UInt64?, areUsed: Bool) -> Finding {
    let why =
      "each buffer takes two descriptors of the process that allocates, and one for each slice"
    guard let limit, limit < 256 || areUsed else {
      return Finding(
        .ok, .limits, "limits.descriptors",
        seen: "\(limit.map { "\($0)" } ?? "any number of") descriptors", why: why)
    }
    return Finding(
      limit < 32 || areUsed ? .broken : .warning, .limits, "limits.descriptors",
      seen: "this process may open \(limit) descriptors"
        + (areUsed ? ", and whoever started it left too few for a buffer" : ""),
      why: why + ": then EMFILE",
      fix: "ulimit -n 4096  # or LimitNOFILE=4096 in the unit")
  }

  private static func addressSpace(_ limit: UInt64?) -> Finding? {
    guard let limit else { return nil }
    return Finding(
      .warning, .limits, "limits.address-space", seen: "this process may map \(limit.asByteCount)",
      why: "mapped buffers count: mmap(2) fails with ENOMEM beyond it", fix: "ulimit -v unlimited")
  }
}
