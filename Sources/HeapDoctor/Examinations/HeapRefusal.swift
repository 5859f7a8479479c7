internal import LinuxHeaps

/// Why heaps' nodes cannot be opened, by the one cause that stands behind it.
enum HeapRefusal {
  /// What is said of one heap, without its path; nil where it can be opened and is the kernel's heap. Where its mode is the cause,
  /// the rules that should have set it are what has to be mended.
  static func cause(_ heap: HeapNode, _ machine: Machine) -> Finding? {
    guard let refusal = heap.refusal else { return nil }
    let found = Finding(
      .broken, .heaps, "heap.\(refusal.cause.rawValue)", seen: refusal.seen, why: refusal.why,
      fix: fix(refusal, heap, machine))
    let ofMode: [AccessRefusal.Cause] = [.groupNotActive, .notInGroup, .wrongMode]
    guard let status = heap.status, ofMode.contains(refusal.cause) else { return found }
    let wanted = machine.rules.outcome(for: heap.name)
    if let wanted, differs(status, wanted) {
      return UdevExamination.unapplied(
        wanted, status, .broken, by: wanted.files.joined(separator: ", "), machine)
    }
    guard refusal.cause == .wrongMode else { return found }
    if let wanted {
      return Finding(
        .broken, .heaps, found.id, seen: refusal.seen,
        why: "\(wanted.files.joined(separator: ", ")) sets this mode",
        fix: "sudoedit \(wanted.files.last ?? "")  # MODE=\"0660\"")
    }
    guard status.groupID == 0 else { return found }
    return Finding(
      .broken, .udev, "udev.no-rule",
      seen: "is \(status), as the kernel makes it, and no udev rule gives it to a group",
      why: "only root may allocate",
      fix: UdevExamination.installRule()
        + " && sudo usermod -aG dmaheap \(machine.identity.name)  # then log in again")
  }

  /// A node that is made anew is for those whom the rules give it to.
  private static func fix(
    _ refusal: AccessRefusal, _ heap: HeapNode, _ machine: Machine
  ) -> String? {
    switch refusal.cause {
    case .notADevice, .wrongDevice:
      Fix.node(heap, clearing: "sudo rm \(heap.path)", machine)
    case .nodeMissing where machine.container == nil: Fix.node(heap, machine)
    default: refusal.fix
    }
  }

  static func differs(_ status: NodeStatus, _ wanted: UdevRules.Outcome) -> Bool {
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
      // A cure for all of them, or one for each.
      let fixes = group.compactMap(\.cause.fix)
      let isDenial = heap.refusal?.isDenial == true
      return Finding(
        isDenial ? severity : .broken, first.area, first.id,
        seen: (group.count > 1 ? "each of " : "") + group.map(\.heap.path).joined(separator: ", ")
          + " " + first.seen, why: first.why,
        fix: Set(fixes).count <= 1 ? first.fix : fixes.joined(separator: " && "))
    }
  }
}
