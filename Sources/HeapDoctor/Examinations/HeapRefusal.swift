internal import LinuxHeaps

/// Why heaps' nodes cannot be opened, by the one cause that stands behind it.
enum HeapRefusal {
  /// What is said of one heap, without its path; nil where it can be opened and is the kernel's heap. Where its mode is the cause,
  /// the rules that should have set it are what has to be mended.
  static func cause(_ heap: HeapNode, _ machine: Machine) -> Finding? {
    guard let refusal = heap.refusal else { return nil }
    let found = Finding(
      .broken, .heaps, "heap.\(refusal.cause.rawValue)", seen: refusal.seen, why: refusal.why,
      fix: refusal.fix)
    let ofMode: [AccessRefusal.Cause] = [.groupNotActive, .notInGroup, .wrongMode]
    guard let status = heap.status, ofMode.contains(refusal.cause) else { return found }
    let wanted = machine.rules.outcome(for: heap.name)
    if let wanted, differs(status, wanted, for: machine.identity.user),
      UdevExamination.hasUdev(machine)
    {
      return UdevExamination.unapplied(
        wanted, status, .broken, by: wanted.files.joined(separator: ", "), machine)
    }
    guard refusal.cause == .wrongMode else { return found }
    if let wanted, machine.rules.isApplied {
      return Finding(
        .broken, .heaps, found.id, seen: refusal.seen,
        why: "\(wanted.files.joined(separator: ", ")) sets this mode",
        fix: UdevExamination.overrule([heap.name], status, machine))
    }
    guard status.groupID == 0, machine.rules.isApplied else { return found }
    let join = machine.surroundings.join(named: "dmaheap")
    if status.listedGroupMode != nil {
      // Of a list, udevd's chmod changes the mask alone.
      return Finding(
        .broken, .heaps, found.id, seen: refusal.seen, why: refusal.why,
        fix: UdevExamination.installRule(machine)
          + " && sudo setfacl -m g::rw \(heap.path.shellWord)"
          + " && " + join)
    }
    return Finding(
      .broken, .udev, "udev.no-rule",
      seen: "is \(status), as the kernel makes it, and no udev rule gives it to a group",
      why: "only root may allocate",
      fix: UdevExamination.installRule(machine) + " && " + join)
  }

  /// Whether the node is not as its rules would have it. Of an owner that nobody is called udevd takes no notice.
  ///
  /// - Parameter user: To whom alone another owner matters; nil for everybody.
  static func differs(
    _ status: NodeStatus, _ wanted: UdevRules.Outcome, for user: UInt32? = nil
  ) -> Bool {
    if let owner = wanted.owner.flatMap(UserDatabase.user), owner != status.userID,
      user == nil || user == owner
    {
      return true
    }
    if let group = wanted.group, group != status.group, group != "\(status.groupID)" { return true }
    return wanted.mode.map { $0 != status.mode } ?? false
  }

  // MARK: Several

  /// Heaps that share a cause and a cure are reported together.
  ///
  /// - Parameter severity: Of a right that is missing: a service can stand in for it, not for a node.
  static func findings(
    _ refusals: [(heap: HeapNode, cause: Finding)], _ severity: Severity
  ) -> [Finding] {
    refusals.grouped { "\($0.cause.id) \($0.cause.seen)" }.map { group in
      let (heap, first) = group[0]
      // A name that this kernel has no heap for keeps nobody from the others.
      let isSpare = heap.isDangling && heap.registered == nil
      let severity =
        isSpare ? .warning : heap.refusal?.isDenial == true ? severity : .broken
      return Finding(
        severity, first.area, first.id,
        seen: (group.count > 1 ? "each of " : "") + group.map(\.heap.path).joined(separator: ", ")
          + " " + first.seen, why: first.why,
        fix: Fix.joined(group.compactMap(\.cause.fix)))
    }
  }
}
