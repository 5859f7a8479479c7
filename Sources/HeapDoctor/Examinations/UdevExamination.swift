internal import LinuxHeaps

/// The udev rules for heaps. One that shuts this user out is reported by the heaps' examination.
enum UdevExamination {
  static func findings(_ machine: Machine) -> [Finding] {
    let nodes = machine.heaps.filter { $0.status?.device != nil }
    guard !nodes.isEmpty, machine.container == nil else { return [] }
    return hidden(machine) + effects(on: nodes, machine)
  }

  /// udev(7): of files of one name, that of the first directory alone is read.
  private static func hidden(_ machine: Machine) -> [Finding] {
    machine.rules.hidden.map { path, hider in
      // A link to /dev/null, or a file of another name that is read before the one that it hid: `-`
      // comes before `.`.
      let isEmpty = machine.files.text(hider, limit: 1 << 20)?.isEmpty != false
      let words = hider.dropLast(".rules".count).split(separator: "/")
      var name = "\(words.last ?? "")-local"
      while UdevRules.directories.contains(where: {
        machine.files.exists("\($0)/\(name).rules")
      }) { name += "-local" }
      return Finding(
        .warning, .udev, "udev.hidden-rule",
        seen: "\(hider) hides \(path), which speaks of heaps",
        why:
          "of rules files of one name udev reads one: the group and the links of the other are gone",
        fix: (isEmpty
          ? "sudo rm \(hider)"
          : "sudo mv \(hider) /\(words.dropLast().joined(separator: "/"))/\(name).rules")
          + (machine.rules.isApplied ? " && \(reload)" : ""))
    }
  }

  private static func effects(on nodes: [HeapNode], _ machine: Machine) -> [Finding] {
    let ruled = nodes.compactMap { heap in
      machine.rules.outcome(for: heap.name).map { (heap, $0) }
    }
    guard !ruled.isEmpty else {
      // Reported already where it is the cause.
      guard nodes.contains(where: \.isOpen) else { return [] }
      let listed = nodes.filter { $0.status?.listedGroupMode != nil }
      if !listed.isEmpty {
        return [
          Finding(
            .note, .udev, "udev.access-list",
            seen: "\(listed.map(\.path).joined(separator: ", ")) have an access control list",
            why:
              "as of a rule with TAG+=\"uaccess\": who sits at the machine may allocate"
              + (listed.allSatisfy(machine.isCharged)
                ? "" : ", and the kernel charges nobody for \(uncharged(listed, machine))")
          )
        ]
      }
      guard machine.rules.isApplied else {
        return [
          Finding(
            .note, .udev, "udev.none",
            seen: "no udev rule covers the heaps, and no udevd runs here",
            why:
              "the kernel makes a node root:root 0600: unless something else changes that, only root may allocate"
          )
        ]
      }
      return [
        Finding(
          .note, .udev, "udev.none",
          seen:
            "no udev rule covers the heaps: their nodes stay as the kernel creates them, root:root 0600",
          why: "an ordinary user may not allocate", fix: installRule(machine))
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
      ] + partial(missed, paths, machine)
    }
    let found = unapplied(outcome, status, .warning, of: "\(heap.path) ", by: paths, machine)
    return partial(missed, paths, machine) + [found]
  }

  /// A node that is not as a rule would have it.
  static func unapplied(
    _ wanted: UdevRules.Outcome, _ status: NodeStatus, _ severity: Severity, of node: String = "",
    by rule: String, _ machine: Machine
  ) -> Finding {
    let mode = NodeStatus.octal(wanted.mode ?? 0o600)
    let group = wanted.group ?? "root"
    let seen =
      "\(node)is \(status), and \(rule) says \(wanted.owner ?? "root"):\(group) \(mode)"
    // udevd looks groups up when it reads the rules, which it does again where a file has changed: not for
    // a group that was made meanwhile (manager_reload, src/udev/udevd.c).
    let make =
      UserDatabase.group(group) == nil
      ? machine.surroundings.makeGroup(group)
        + " && sudo touch \(wanted.files.joined(separator: " ")) && " : ""
    return machine.rules.isApplied
      ? Finding(
        severity, .udev, "udev.rule-not-applied", seen: seen,
        why: "udev applies a rule when the node appears: the rule came later, or failed",
        fix: make + reload)
      : Finding(
        severity, .udev, "udev.not-running", seen: seen,
        why: "no udevd runs here to apply the rule",
        fix: hasUdev(machine) ? "\(make)sudo systemctl start systemd-udevd && \(trigger)" : nil)
  }

  /// Whether rules count on this machine once udevd runs. BusyBox's mdev, on boards without it, reads none.
  static func hasUdev(_ machine: Machine) -> Bool {
    machine.rules.isApplied || machine.files.hasProgram("udevadm")
  }

  /// Reported already where it is the cause.
  private static func partial(
    _ missed: [HeapNode], _ paths: String, _ machine: Machine
  ) -> [Finding] {
    let open = missed.filter(\.isOpen)
    guard !open.isEmpty else { return [] }
    return [
      Finding(
        .note, .udev, "udev.partial",
        seen: "\(paths) does not speak of \(open.map(\.path).joined(separator: ", "))",
        why: "the kernel makes a node root:root 0600: an ordinary user may not allocate from it",
        // Another group would not be the one that the programs' users are in.
        fix: machine.rules.isApplied
          ? installRule(
            for: open.map(\.name),
            group: machine.heaps.lazy.compactMap { machine.rules.outcome(for: $0.name)?.group }
              .first, machine) : nil)
    ]
  }

  private static func uncharged(_ heaps: [HeapNode], _ machine: Machine) -> String {
    machine.chargesSystemHeap
      ? "memory of \(heaps.filter { !machine.isCharged($0) }.map(\.name).joined(separator: ", "))"
      : "it"
  }

  private static let trigger = Surroundings.trigger + " --subsystem-match=dma_heap"
  private static let reload = "sudo udevadm control --reload && \(trigger)"

  /// A rule that has the last word, against one that keeps a node's group out, or lets everybody in.
  static func overrule(_ heaps: [String], _ status: NodeStatus, _ machine: Machine) -> String {
    let group = "dmaheap"
    let isAlone = status.groupID == 0
    let surroundings = machine.surroundings
    let change =
      (isAlone ? surroundings.makeGroup(group) + " && " : "")
      + "echo 'SUBSYSTEM==\"dma_heap\", KERNEL==\"\(heaps.joined(separator: "|"))\",\(isAlone ? " GROUP=\"\(group)\"," : "") MODE=\"0660\"'"
      + " | sudo tee -a /etc/udev/rules.d/zz-linux-heaps-local.rules && \(reload)"
    let identity = machine.identity
    if !isAlone, identity.user == 0 || identity.groups.contains(status.groupID) { return change }
    return "\(change) && "
      + (isAlone ? surroundings.join(named: group) : surroundings.join(status.groupID))
  }

  /// - Parameter heaps: None stands for all, those of modules that are loaded later too.
  static func installRule(
    for heaps: [String] = [], group: String? = nil, _ machine: Machine
  ) -> String {
    let which = heaps.isEmpty ? "" : ", KERNEL==\"\(heaps.joined(separator: "|"))\""
    let group = group ?? "dmaheap"
    // Neither the package's file, which a file in /etc would hide (udev(7)), nor in place of an earlier
    // fix; read first, so that the word of each other file stays.
    return machine.surroundings.makeGroup(group)
      + " && echo 'SUBSYSTEM==\"dma_heap\"\(which), GROUP=\"\(group)\", MODE=\"0660\"'"
      + " | sudo tee -a /etc/udev/rules.d/00-linux-heaps-local.rules && \(reload)"
  }
}
