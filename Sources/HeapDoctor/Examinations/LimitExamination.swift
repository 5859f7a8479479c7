internal import LinuxHeaps

/// Limits of this process (getrlimit(2)), by /proc/self/limits, and of the machine's open files.
enum LimitExamination {
  static func findings(_ machine: Machine, _ trial: Trial) -> [Finding] {
    let found = [
      descriptors(ResourceLimit(.openFiles, machine.files), areUsed: trial.lacksDescriptors),
      trial.lacksOpenFiles ? openFiles(machine) : nil,
      addressSpace(ResourceLimit(.addressSpace, machine.files)),
    ]
    return found.compactMap { $0 }
  }

  /// - Parameter areUsed: Whether none was left for a buffer.
  private static func descriptors(_ limit: ResourceLimit?, areUsed: Bool) -> Finding {
    let why =
      "each buffer takes two descriptors of the process that allocates, and one for each slice"
    guard let limit, limit.soft < 256 || areUsed else {
      let number = limit.flatMap { $0.soft == .max ? nil : "\($0.soft)" }
      return Finding(
        .ok, .limits, "limits.descriptors", seen: "\(number ?? "any number of") descriptors",
        why: why)
    }
    return Finding(
      limit.soft < 32 || areUsed ? .broken : .warning, .limits, "limits.descriptors",
      seen: "this process may open \(limit.soft) descriptors"
        + (areUsed ? ", and whoever started it left too few for a buffer" : ""),
      why: why + ": then EMFILE",
      fix: limit.raised(to: limit.more) + "  # or LimitNOFILE=\(limit.more) in the unit")
  }

  /// Only CAP_SYS_ADMIN opens files beyond it (alloc_empty_file, fs/file_table.c).
  private static func openFiles(_ machine: Machine) -> Finding {
    let limit = machine.files.number("/proc/sys/fs/file-max").map { ", \($0)" } ?? ""
    return Finding(
      .broken, .limits, "limits.open-files",
      seen: "the machine has as many open files as fs.file-max allows\(limit)",
      why: "each buffer is an open file: then ENFILE",
      fix: Fix.ofKernel("sudo sysctl fs.file-max=$((2 * $(cat /proc/sys/fs/file-max)))", machine))
  }

  private static func addressSpace(_ limit: ResourceLimit?) -> Finding? {
    guard let limit, limit.soft != .max else { return nil }
    return Finding(
      .warning, .limits, "limits.address-space",
      seen: "this process may map \(limit.soft.asByteCount)",
      why: "mapped buffers count: mmap(2) fails with ENOMEM beyond it",
      fix: limit.raised())
  }
}
