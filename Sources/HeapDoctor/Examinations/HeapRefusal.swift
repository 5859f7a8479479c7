internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Why one heap's node cannot be opened, by the one cause that stands behind it.
struct HeapRefusal {
  let heap: HeapNode
  let area: Area
  let id: String
  let seen: String
  let why: String
  let fix: String?

  private init(
    _ heap: HeapNode, _ id: String, _ seen: String, why: String, fix: String?, area: Area = .heaps
  ) {
    self.heap = heap
    self.area = area
    self.id = id
    self.seen = seen
    self.why = why
    self.fix = fix
  }

  /// Nil where it can be opened and is the kernel's heap.
  init?(_ heap: HeapNode, _ machine: Machine) {
    guard let status = heap.status else {
      self = Self.missing(heap, machine)
      return
    }
    guard let device = status.device else {
      self.init(
        heap, "heap.not-a-device", "is no character device",
        why: "something put a file where the kernel's node belongs: requests fail with ENOTTY",
        fix: "sudo rm \(heap.path)" + Self.make(heap, " && "))
      return
    }
    if let registered = heap.registered, registered != Self.numbers(device) {
      self.init(
        heap, "heap.wrong-device",
        "is device \(Self.numbers(device)), and the kernel's heap is \(registered)",
        why:
          "the kernel gives out device numbers anew at each boot: a node from an image, or made by hand, points elsewhere",
        fix: "sudo rm \(heap.path)" + Self.make(heap, " && "))
      return
    }
    guard let error = heap.openingError else { return nil }
    switch error {
    case .permissionDenied: self = Self.denied(heap, status, machine)
    case .notPermitted:
      self.init(
        heap, "heap.device-cgroup", "is \(status), and open(2) answers EPERM",
        why:
          "a control group forbids the device, whatever its mode: the container's or unit's list of devices lacks it",
        fix: Fix.allowDevice("dma_heap", [HeapNode.directory], machine))
    case .noSuchAddressOrDevice, .operationNotSupportedByDevice:
      self.init(
        heap, "heap.no-driver", "has no driver behind it (\(error))",
        why: "the node was left by a module that is gone, or made by hand",
        fix: "sudo rm \(heap.path)  # a node comes by itself when its driver is there")
    default:
      self.init(
        heap, "heap.open-failed", "cannot be opened: \(error)",
        why: "nothing can be allocated from it",
        fix: "sudo strace -e openat head -c0 \(heap.path)  # as root, to compare")
    }
  }

  // MARK: Causes

  private static func missing(_ heap: HeapNode, _ machine: Machine) -> HeapRefusal {
    // A directory that cannot be listed looks empty.
    if machine.files.openingError(HeapNode.directory) == .permissionDenied {
      return directoryClosed(heap, machine)
    }
    if let container = machine.container {
      return HeapRefusal(
        heap, "heap.node-missing", "is not there, and the kernel has the heap",
        why: "a container (\(container)) has only the nodes that it was started with",
        fix:
          "docker run --device \(HeapNode.directory) …  # podman: the same; systemd-nspawn: --bind=\(HeapNode.directory)"
      )
    }
    return HeapRefusal(
      heap, "heap.node-missing", "is not there, and the kernel has the heap",
      why:
        "devtmpfs makes the node when the heap is registered, and never again: something removed or hid it",
      fix: make(heap, ""))
  }

  private static func directoryClosed(_ heap: HeapNode, _ machine: Machine) -> HeapRefusal {
    HeapRefusal(
      heap, "heap.directory-closed",
      "lies in \(HeapNode.directory), which \(machine.identity.name) may not search",
      why: "the nodes' own modes do not matter behind a closed directory",
      fix: "sudo chmod 755 \(HeapNode.directory)")
  }

  private static func denied(
    _ heap: HeapNode, _ status: NodeStatus, _ machine: Machine
  ) -> HeapRefusal {
    let path = machine.files.path(heap.path)
    let user = machine.identity.name
    if isOnNoDeviceMount(path) {
      return HeapRefusal(
        heap, "heap.nodev-mount", "lies on a file system that is mounted nodev",
        why: "no device node on it can be opened, by root neither",
        fix: "sudo mount -o remount,dev $(findmnt -no TARGET -T \(heap.path))")
    }
    if unsafe access(machine.files.path(HeapNode.directory), X_OK) != 0 {
      return directoryClosed(heap, machine)
    }
    if machine.identity.mayRead(status) {
      return HeapRefusal(
        heap, "heap.security-module",
        "is \(status), which lets \(user) read it, and open(2) answers EACCES",
        why: "a security module forbids it\(securityModules(machine.files))",
        fix:
          "sudo ausearch -m AVC -ts recent; sudo dmesg | grep -iE 'avc|apparmor'  # the denial, with the rule that lacks"
      )
    }
    let wanted = machine.rules.outcome(for: heap.name)
    if let wanted, differs(status, wanted) {
      let rule = wanted.files.joined(separator: ", ")
      let mode = NodeStatus.octal(wanted.mode ?? 0o600)
      let gives = "\(wanted.owner):\(wanted.group ?? "root") \(mode)"
      return machine.rules.isApplied
        ? HeapRefusal(
          heap, "udev.rule-not-applied", "is \(status), and \(rule) says \(gives)",
          why: "udev applies a rule when the node appears: the rule came later, or failed",
          fix: UdevExamination.reload,
          area: .udev)
        : HeapRefusal(
          heap, "udev.not-running", "is \(status), and \(rule) says \(gives)",
          why: "no udevd runs here to apply the rule",
          fix: UdevExamination.start,
          area: .udev)
    }
    if status.mode & 0o040 != 0, status.groupID != 0 {
      return machine.identity.isMember(of: status.groupID)
        ? HeapRefusal(
          heap, "heap.group-not-active",
          "is \(status), and this session of \(user) began before it joined \(status.group)",
          why: "groups are given to a process when its user logs in",
          fix: "newgrp \(status.group)  # or log in again")
        : HeapRefusal(
          heap, "heap.not-in-group",
          "is \(status), and \(user) is not in the group \(status.group)",
          why:
            "to open a heap for reading is all that allocation takes, and the group has that right",
          fix: Fix.join(status.group, user))
    }
    if wanted == nil, status.groupID == 0 {
      return HeapRefusal(
        heap, "udev.no-rule",
        "is \(status), as the kernel makes it, and no udev rule gives it to a group",
        why: "only root may allocate; no distribution is known to have such a rule",
        fix: UdevExamination.installRule(),
        area: .udev)
    }
    return HeapRefusal(
      heap, "heap.wrong-mode", "is \(status), which lets its group \(status.group) not read it",
      why: wanted.map { "\($0.files.joined(separator: ", ")) sets this mode" }
        ?? "something set this mode after the node appeared",
      fix: wanted.map { "sudoedit \($0.files.last ?? "")  # MODE=\"0660\"" }
        ?? "sudo chmod 660 \(heap.path)")
  }

  // MARK: Parts

  static func differs(_ status: NodeStatus, _ wanted: UdevRules.Outcome) -> Bool {
    if let group = wanted.group, group != status.group, group != "\(status.groupID)" { return true }
    return wanted.mode.map { $0 != status.mode } ?? false
  }

  /// gnu_dev_major(3) and gnu_dev_minor(3), which are macros.
  private static func numbers(_ device: UInt64) -> String {
    let major = (device >> 8) & 0xfff | (device >> 32) & ~0xfff
    let minor = device & 0xff | (device >> 12) & ~0xff
    return "\(major):\(minor)"
  }

  private static func make(_ heap: HeapNode, _ before: String) -> String {
    guard let registered = heap.registered else { return "" }
    return before
      + "sudo mkdir -p \(HeapNode.directory) && sudo mknod -m 600 \(heap.path) c \(registered.replacing(":", with: " "))"
  }

  private static func isOnNoDeviceMount(_ path: String) -> Bool {
    var status = statvfs()
    let noDevices: UInt = 4  // ST_NODEV, hidden behind _GNU_SOURCE
    return unsafe statvfs(path, &status) == 0 && status.f_flag & noDevices != 0
  }

  private static func securityModules(_ files: MachineFiles) -> String {
    var names = (files.line("/sys/kernel/security/lsm") ?? "").split(separator: ",").map(
      String.init)
    if files.exists("/sys/fs/selinux/enforce"), !names.contains("selinux") {
      names.append("selinux")
    }
    names.removeAll { $0 == "capability" || $0 == "lockdown" || $0 == "yama" }
    let context =
      files.line("/proc/self/attr/current").map { ", as \($0.filter { $0 != "\0" })" } ?? ""
    return names.isEmpty ? "" : " (\(names.joined(separator: ", "))\(context))"
  }
}

extension HeapRefusal {
  /// Heaps that share a cause and a cure are told of together.
  static func findings(_ refusals: [HeapRefusal], _ severity: Severity) -> [Finding] {
    var groups: [[HeapRefusal]] = []
    for refusal in refusals {
      if let index = groups.firstIndex(where: {
        $0[0].id == refusal.id && $0[0].seen == refusal.seen
      }) {
        groups[index].append(refusal)
      } else {
        groups.append([refusal])
      }
    }
    return groups.map { group in
      let fixes = group.compactMap(\.fix)
      let first = group[0]
      // A cure for all of them, or one for each.
      let fix = Set(fixes).count <= 1 ? first.fix : fixes.joined(separator: " && ")
      // The service can stand in for a right that is missing, not for a node.
      let isDenial = first.heap.openingError == .permissionDenied
      return Finding(
        isDenial ? severity : .broken, first.area, first.id,
        seen: (group.count > 1 ? "each of " : "") + group.map(\.heap.path).joined(separator: ", ")
          + " "
          + first.seen, why: first.why,
        fix: fix)
    }
  }
}
