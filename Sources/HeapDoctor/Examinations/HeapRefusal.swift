internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Why heaps' nodes cannot be opened, by the one cause that stands behind it.
enum HeapRefusal {
  /// What is said of one heap, without its path; nil where it can be opened and is the kernel's heap.
  static func cause(_ heap: HeapNode, _ machine: Machine) -> Finding? {
    guard let status = heap.status else { return missing(heap, machine) }
    guard let device = status.device else {
      return cause(
        "heap.not-a-device", "is no character device",
        why: "something put a file where the kernel's node belongs: requests fail with ENOTTY",
        fix: Fix.node(heap, clearing: "sudo rm \(heap.path)", machine))
    }
    if let registered = heap.registered, registered != numbers(device) {
      return cause(
        "heap.wrong-device",
        "is device \(numbers(device)), and the kernel's heap is \(registered)",
        why:
          "device numbers are assigned at each boot: a node from an image, or made by hand, can refer to another device",
        fix: Fix.node(heap, clearing: "sudo rm \(heap.path)", machine))
    }
    guard let error = heap.openingError else { return nil }
    switch error {
    case .permissionDenied: return denied(heap, status, machine)
    case .notPermitted:
      return cause(
        "heap.device-cgroup", "is \(status), and open(2) answers EPERM",
        why:
          "a control group forbids the device, whatever its mode: the container's or unit's list of devices lacks it",
        fix: Fix.allowDevice("dma_heap", [HeapNode.directory], machine))
    case .noSuchAddressOrDevice, .operationNotSupportedByDevice:
      return cause(
        "heap.no-driver", "has no driver behind it (\(error))",
        why: "the node was left by a module that is gone, or made by hand",
        fix: "sudo rm \(heap.path)  # the node is created when its driver registers the heap")
    default:
      return cause(
        "heap.open-failed", "cannot be opened: \(error)",
        why: "nothing can be allocated from it",
        fix: "sudo strace -e openat head -c0 \(heap.path)  # as root, to compare")
    }
  }

  // MARK: Causes

  private static func missing(_ heap: HeapNode, _ machine: Machine) -> Finding {
    // A directory that cannot be listed looks empty.
    if machine.files.openingError(HeapNode.directory) == .permissionDenied {
      return directoryClosed(heap, machine)
    }
    if let container = machine.container {
      return cause(
        "heap.node-missing", "is not there, and the kernel has the heap",
        why: "a container (\(container)) has only the nodes that it was started with",
        fix:
          "docker run --device \(HeapNode.directory) …  # podman: the same; systemd-nspawn: --bind=\(HeapNode.directory)"
      )
    }
    return cause(
      "heap.node-missing", "is not there, and the kernel has the heap",
      why:
        "devtmpfs makes the node when the heap is registered, and never again: something removed or hid it",
      fix: Fix.node(heap, machine))
  }

  private static func directoryClosed(_ heap: HeapNode, _ machine: Machine) -> Finding {
    cause(
      "heap.directory-closed",
      "lies in \(HeapNode.directory), which \(machine.identity.name) may not search",
      why: "the nodes' own modes do not matter behind a closed directory",
      fix: "sudo chmod 755 \(HeapNode.directory)")
  }

  private static func denied(
    _ heap: HeapNode, _ status: NodeStatus, _ machine: Machine
  ) -> Finding {
    let path = machine.files.path(heap.path)
    let user = machine.identity.name
    if isOnNoDeviceMount(path) {
      return cause(
        "heap.nodev-mount", "is on a file system that is mounted nodev",
        why: "no device node on it can be opened, not even by root",
        fix: "sudo mount -o remount,dev $(findmnt -no TARGET -T \(heap.path))")
    }
    if unsafe access(machine.files.path(HeapNode.directory), X_OK) != 0 {
      return directoryClosed(heap, machine)
    }
    if machine.identity.mayRead(status) {
      return cause(
        "heap.security-module",
        "is \(status), which lets \(user) read it, and open(2) answers EACCES",
        why: "a security module forbids it\(securityModules(machine.files))",
        fix:
          "sudo ausearch -m AVC -ts recent; sudo dmesg | grep -iE 'avc|apparmor'  # the denial, and the missing rule"
      )
    }
    let wanted = machine.rules.outcome(for: heap.name)
    if let wanted, differs(status, wanted) {
      return UdevExamination.unapplied(
        wanted, status, .broken, by: wanted.files.joined(separator: ", "), machine)
    }
    if status.mode & 0o040 != 0, status.groupID != 0 {
      return machine.identity.isMember(of: status.groupID)
        ? cause(
          "heap.group-not-active",
          "is \(status), and this session of \(user) began before it joined \(status.group)",
          why: "groups are given to a process when its user logs in",
          fix: "newgrp \(status.group)  # or log in again")
        : cause(
          "heap.not-in-group",
          "is \(status), and \(user) is not in the group \(status.group)",
          why:
            "to open a heap for reading is all that allocation takes, and the group has that right",
          fix: Fix.join(status.group, user))
    }
    if wanted == nil, status.groupID == 0 {
      return cause(
        "udev.no-rule",
        "is \(status), as the kernel makes it, and no udev rule gives it to a group",
        why: "only root may allocate",
        fix: UdevExamination.installRule() + " && " + Fix.join("dmaheap", user), area: .udev)
    }
    return cause(
      "heap.wrong-mode", "is \(status), which does not let its group \(status.group) read it",
      why: wanted.map { "\($0.files.joined(separator: ", ")) sets this mode" }
        ?? "something set this mode after the node appeared",
      fix: wanted.map { "sudoedit \($0.files.last ?? "")  # MODE=\"0660\"" }
        ?? "sudo chmod 660 \(heap.path)")
  }

  // MARK: Parts

  private static func cause(
    _ id: String, _ seen: String, why: String, fix: String?, area: Area = .heaps
  ) -> Finding {
    Finding(.broken, area, id, seen: seen, why: why, fix: fix)
  }

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
      let isDenial = heap.openingError == .permissionDenied
      return Finding(
        isDenial ? severity : .broken, first.area, first.id,
        seen: (group.count > 1 ? "each of " : "") + group.map(\.heap.path).joined(separator: ", ")
          + " " + first.seen, why: first.why,
        fix: Set(fixes).count <= 1 ? first.fix : fixes.joined(separator: " && "))
    }
  }
}
