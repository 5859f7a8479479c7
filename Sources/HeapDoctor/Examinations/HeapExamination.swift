internal import LinuxHeaps
internal import SystemPackage

/// The nodes: whether they exist, are the right ones, can be opened by this user, and give pages.
enum HeapExamination {
  static func findings(_ machine: Machine, _ trial: Trial) -> [Finding] {
    let legacy = legacy(machine).map { [$0] } ?? []
    guard !machine.heaps.isEmpty else { return closed(machine) + legacy }
    var refusals: [(heap: HeapNode, cause: Finding)] = []
    var served: [String] = []
    var findings: [Finding] = []
    for heap in machine.heaps {
      if let cause = HeapRefusal.cause(heap, machine) {
        refusals.append((heap, cause))
      } else if let error = trial.failure(of: heap) {
        findings += failure(heap, error, machine).map { [$0] } ?? []
      } else {
        served.append(heap.name)
      }
    }
    let severity: Severity = ServiceExamination.isUsable(machine) ? .warning : .broken
    // Reported already where it keeps this user from a heap whose name is known.
    let isTold = refusals.contains { $0.heap.refusal?.cause == .directoryClosed }
    findings =
      (isTold ? [] : closed(machine)) + HeapRefusal.findings(refusals, severity) + findings
    if !served.isEmpty {
      findings.insert(
        Finding(
          .ok, .heaps, "heap.usable",
          seen: "\(machine.identity.name) may use \(served.joined(separator: ", "))",
          why: machine.isRunning
            ? "each was opened, and gave a page where it is not protected" : "each was opened"),
        at: 0)
    }
    return findings + openToAll(machine) + names(machine) + legacy
  }

  private static func closed(_ machine: Machine) -> [Finding] {
    machine.closedDirectory.map {
      [
        Finding(
          ServiceExamination.isUsable(machine) ? .warning : .broken, .heaps,
          "heap.\($0.cause.rawValue)",
          seen: "\(HeapNode.directory) \($0.seen)", why: $0.why, fix: $0.fix)
      ]
    } ?? []
  }

  /// Openable, and yet nothing comes of it. A full contiguous region is examined as such, and so are limits.
  private static func failure(_ heap: HeapNode, _ error: Errno, _ machine: Machine) -> Finding? {
    if error == .noMemory, heap.entry?.role != .contiguous { return full(heap) }
    guard error.canBeOfNode else { return nil }
    let refusal = Surroundings.refusal(
      of: (try? HeapDevice(heap.path))?.refusedRequest ?? "DMA_HEAP_IOCTL_ALLOC", error,
      isRegistered: heap.registered != nil,
      in: machine.surroundings)
    return Finding(
      .broken, .heaps, "heap.allocation-refused",
      seen: "\(heap.path) "
        + (refusal.map { "\($0.seen): \(error)" } ?? "opens, and gives no page: \(error)"),
      why: refusal?.why ?? "the node is of another device, or its driver has failed",
      fix: refusal?.fix
        ?? "stat -c '%t:%T' \(heap.path.shellWord); grep dma_heap /proc/devices  # its major number, in hex and decimal"
    )
  }

  private static func full(_ heap: HeapNode) -> Finding {
    Finding(
      .broken, .heaps, "heap.full",
      seen: "\(heap.path) opens, and not one page could be had",
      why: "each further buffer of it is refused with ENOMEM, until memory is given back",
      fix: "heapctl holders  # whose buffers they are: close some")
  }

  /// What others may do to the nodes, and with them.
  private static func openToAll(_ machine: Machine) -> [Finding] {
    var findings = [HeapCatalog(root: machine.files.root).exposure()].compactMap {
      $0.map {
        Finding(
          .warning, .heaps, "heap.\($0.cause.rawValue)", seen: "\(HeapNode.directory) \($0.seen)",
          why: $0.why, fix: $0.fix)
      }
    }
    let open = machine.heaps.filter {
      $0.status?.device != nil && ($0.status?.mode ?? 0) & 0o004 != 0
    }
    guard !open.isEmpty else { return findings }
    let paths = open.map(\.path).joined(separator: " ")
    findings.append(
      Finding(
        .warning, .heaps, "heap.open-to-all", seen: "every user may open \(paths)",
        why: exhaustion(open, machine), fix: closing(open, machine)))
    return findings
  }

  private static func exhaustion(_ open: [HeapNode], _ machine: Machine) -> String {
    let uncharged = open.filter { !machine.isCharged($0) }
    if uncharged.isEmpty {
      return
        "its memory is charged to the user's control group, and where that has no limit, any user can exhaust memory"
    }
    let memory =
      machine.chargesSystemHeap
      ? "memory of \(uncharged.map(\.name).joined(separator: ", "))" : "heap memory"
    return
      "\(memory) is charged to no control group, so any user can exhaust memory and have other processes killed"
  }

  /// What a rule gives to all, udevd would give again.
  private static func closing(_ open: [HeapNode], _ machine: Machine) -> String? {
    let isRuled = { (heap: HeapNode) in
      machine.rules.isApplied && (machine.rules.outcome(for: heap.name)?.mode ?? 0) & 0o007 != 0
    }
    let (ruled, others) = (open.filter(isRuled), open.filter { !isRuled($0) })
    var fixes =
      others.isEmpty
      ? [] : ["sudo chmod o-rwx \(others.map(\.path.shellWord).joined(separator: " "))"]
    if let status = ruled.first?.status {
      fixes.append(UdevExamination.overrule(ruled.map(\.name), status, machine))
    }
    return Fix.joined(fixes)
  }

  private static func names(_ machine: Machine) -> [Finding] {
    let entries = machine.heaps.filter { !$0.isDangling }.compactMap(\.entry)
    var findings = entries.compactMap { entry in
      entry.duplicateOf.map { original in
        Finding(
          .note, .heaps, "heap.two-names",
          seen: "\(entry.name) and \(original) are the same memory",
          why: "their sizes do not add up; programs should use \(original)")
      }
    }
    let old = entries.filter { $0.isDefaultRegion && $0.role == .contiguous }
    if let entry = old.first, !entries.contains(where: { $0.name == "default_cma_region" }) {
      findings.append(
        Finding(
          .warning, .heaps, "heap.legacy-name",
          seen:
            "the default contiguous region is only called \(entry.name) here, as by kernels before 6.17",
          why:
            "from Linux 6.17 on it is called default_cma_region: a program that opens either name fails on the other kernels",
          fix:
            "heapctl alloc --contiguous --size 1M  # choose a heap by its role, not by its name; heapctl list shows roles"
        ))
    }
    return findings
  }

  private static func legacy(_ machine: Machine) -> Finding? {
    guard machine.files.exists("/dev/ion") else { return nil }
    return Finding(
      .warning, .heaps, "heap.ion",
      seen: "/dev/ion is there: the allocator that heaps replaced, gone since Linux 5.11",
      why: "programs for it find other names and ioctls than /dev/dma_heap has",
      fix: "grep -rl /dev/ion /etc /opt  # what still asks for it; use /dev/dma_heap there")
  }
}
