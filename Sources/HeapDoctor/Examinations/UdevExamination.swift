internal import LinuxHeaps

/// The udev rules for heaps. One that shuts this user out is reported by the heaps' examination.
enum UdevExamination {
  static func findings(_ machine: Machine) -> [Finding] {
    let nodes = machine.heaps.filter { $0.status?.device != nil }
    guard !nodes.isEmpty else { return [] }
    let ruled = nodes.compactMap { heap in
      machine.rules.outcome(for: heap.name).map { (heap, $0) }
    }
    guard !ruled.isEmpty else {
      // Reported already where it is the cause.
      guard nodes.contains(where: \.isOpen) else { return [] }
      return [
        Finding(
          .note, .udev, "udev.none",
          seen:
            "no udev rule covers the heaps: their nodes stay as the kernel creates them, root:root 0600",
          why: "an ordinary user may not allocate", fix: installRule())
      ]
    }
    let differing = ruled.filter { heap, outcome in
      heap.isOpen && heap.status.map { HeapRefusal.differs($0, outcome) } == true
    }
    let paths = machine.rules.paths.joined(separator: ", ")
    let missed = nodes.filter { heap in !ruled.contains { $0.0.name == heap.name } }
    guard let (heap, outcome) = differing.first, let status = heap.status else {
      return [
        Finding(
          .ok, .udev, "udev.rule", seen: "the nodes are as \(paths) says",
          why: missed.isEmpty
            ? "the rule covers every heap that is here" : "the rule covers some of the heaps")
      ] + partial(missed, paths)
    }
    let found = unapplied(outcome, status, .warning, of: "\(heap.path) ", by: paths, machine)
    return partial(missed, paths) + [found]
  }

  /// A node that is not as a rule would have it.
  static func unapplied(
    _ wanted: UdevRules.Outcome, _ status: NodeStatus, _ severity: Severity, of node: String = "",
    by rule: String, _ machine: Machine
  ) -> Finding {
    let mode = NodeStatus.octal(wanted.mode ?? 0o600)
    let seen =
      "\(node)is \(status), and \(rule) says \(wanted.owner):\(wanted.group ?? "root") \(mode)"
    return machine.rules.isApplied
      ? Finding(
        severity, .udev, "udev.rule-not-applied", seen: seen,
        why: "udev applies a rule when the node appears: the rule came later, or failed",
        fix: reload)
      : Finding(
        severity, .udev, "udev.not-running", seen: seen,
        why: "no udevd runs here to apply the rule",
        fix:
          "sudo systemctl start systemd-udevd && sudo udevadm trigger --settle --subsystem-match=dma_heap"
      )
  }

  /// Reported already where it is the cause.
  private static func partial(_ missed: [HeapNode], _ paths: String) -> [Finding] {
    let open = missed.filter(\.isOpen)
    guard !open.isEmpty else { return [] }
    return [
      Finding(
        .note, .udev, "udev.partial",
        seen: "\(paths) does not speak of \(open.map(\.path).joined(separator: ", "))",
        why: "the kernel makes a node root:root 0600: an ordinary user may not allocate from it",
        fix: installRule(for: open.map(\.name)))
    ]
  }

  private static let reload =
    "sudo udevadm control --reload && sudo udevadm trigger --settle --subsystem-match=dma_heap"

  /// - Parameter heaps: None stands for all, those of modules that are loaded later too.
  static func installRule(for heaps: [String] = []) -> String {
    let which = heaps.isEmpty ? "" : ", KERNEL==\"\(heaps.joined(separator: "|"))\""
    // Not the name of the package's file, which a file in /etc would hide (udev(7)).
    return
      "sudo groupadd -rf dmaheap && echo 'SUBSYSTEM==\"dma_heap\"\(which), GROUP=\"dmaheap\", MODE=\"0660\"'"
      + " | sudo tee /etc/udev/rules.d/60-dma-heap-local.rules && \(reload)"
  }
}
