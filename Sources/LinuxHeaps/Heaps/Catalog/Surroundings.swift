internal import CLibrary
internal import SystemPackage

/// Who asks, and where: what decides which nodes a process is given, and who can give it more.
package struct Surroundings: Sendable {
  package let files: MachineFiles
  package let identity: Credentials
  /// What made the container that this is, which has its host's kernel and nodes of its own.
  package let container: String?

  package init(_ files: MachineFiles = MachineFiles()) {
    self.files = files
    identity = Credentials(files)
    container = Self.container(files)
  }

  // MARK: Containers

  /// The link of /proc/PID/ns/pid of the first PID namespace, on every kernel (`PROC_PID_INIT_INO`, linux/proc_ns.h).
  package static let firstPIDNamespace = "pid:[4026531836]"

  private static func container(_ files: MachineFiles) -> String? {
    if files.exists("/.dockerenv") { return "Docker" }
    if files.exists("/run/.containerenv") { return "Podman" }
    // systemd's container interface: the file is systemd's own, the variable every manager's.
    if let name = files.line("/run/systemd/container") ?? variable("container", files) {
      return name
    }
    if variable("KUBERNETES_SERVICE_HOST", files) != nil { return "Kubernetes" }
    // ID PARENT DEVICE ROOT MOUNT-POINT OPTIONS … - TYPE SOURCE OPTIONS
    let mounts = (files.text("/proc/self/mountinfo", limit: 1 << 20) ?? "").lines
      .map { (point: $0.split(separator: " ", maxSplits: 5).dropFirst(4).first, line: $0) }
    // What managers put there themselves; other mounts of theirs a host has too.
    let own = mounts.filter { ["/", "/etc/hosts", "/etc/hostname"].contains($0.point) }.map(\.line)
    let hints = ([files.text("/proc/1/cgroup") ?? ""] + own.map(String.init)).joined()
    for (hint, name) in [
      ("kube", "Kubernetes"), ("docker", "Docker"), ("libpod", "Podman"),
      ("containers/storage", "Podman"), ("containerd", "containerd"), ("lxc", "LXC"),
    ] where hints.holds(hint) { return name }
    // The kernel's nodes are in its devtmpfs alone; a board without one, e.g. of OpenWrt, has a tmpfs that its own daemon fills.
    let isBoard =
      (try? SmallFile.link(files.path("/proc/self/ns/pid"))) == Self.firstPIDNamespace
      && !mounts.contains { $0.line.holds(" - devtmpfs ") }
    return !isBoard && mounts.last { $0.point == "/dev" }?.line.holds(" - tmpfs ") == true
      ? "a /dev of its own" : nil
  }

  private static func variable(_ name: String, _ files: MachineFiles) -> String? {
    guard files.root.isEmpty, let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }

  // MARK: Fixes

  /// Lets this user open what a group may open.
  package func join(_ group: UInt32) -> String {
    if container != nil || identity.isInUserNamespace {
      return "docker run --group-add \(group) …  # the group's number; podman: the same"
    }
    let name = UserDatabase.name(ofGroup: group)
    // usermod(8) takes no number that the database has no group for; a unit does.
    return name == "\(group)" && identity.hasName
      ? "sudo groupadd -g \(group) heap\(group) && " + join(named: "heap\(group)")
      : join(named: name)
  }

  package func join(named group: String) -> String {
    identity.hasName
      ? "sudo usermod -aG \(group) \(identity.name)  # then log in again"
      : "sudo systemctl edit UNIT  # of the unit that runs this: [Service] SupplementaryGroups=\(group)"
  }

  /// Lets this user open a node, or connect to a socket, whose mode keeps its group out.
  func giveAccess(
    to path: String, _ node: NodeStatus, _ kind: String, with others: [String] = []
  ) -> String {
    let isAlone = node.groupID == 0
    let word = ([path] + others).map(\.shellWord).joined(separator: " ")
    let group = isAlone ? usualGroup(path, kind) : node.group
    let number = isAlone ? UserDatabase.group(group) : node.groupID
    let change =
      (number == nil ? "sudo groupadd -rf \(group) && " : "")
      + (isAlone ? "sudo chgrp \(group) \(word) && " : "") + "sudo chmod 660 \(word)"
      // Of a list, chmod(1) changes the mask alone; whom else it names keeps what it gives.
      + (node.listedGroupMode == nil ? "" : " && sudo setfacl -m g::rw \(word)")
    if let number, identity.groups.contains(number) { return change }
    if container != nil {
      return
        "docker run --group-add \(number.map { "\($0)" } ?? group) …  # once the host has done: \(change)"
    }
    return "\(change) && " + (number.map { join($0) } ?? join(named: group))
  }

  /// Whose group nodes of a kind are by systemd's rules, and heaps and heapd's sockets by this package's.
  private func usualGroup(_ path: String, _ kind: String) -> String {
    switch kind {
    case "misc": "kvm"
    case "drm" where path.holds("renderD"): "render"
    case "socket": "heapd-clients"
    case "dma_heap": UserDatabase.group("dmaheap") == nil ? "video" : "dmaheap"
    default: "video"
    }
  }

  /// - Parameter kind: The devices' name in /proc/devices.
  package func allowDevice(_ kind: String, _ path: String) -> String {
    container == nil
      ? "sudo systemctl edit UNIT  # of the unit that runs this: [Service] DeviceAllow=char-\(kind) rw"
      : "docker run --device \(path.shellWord) …"
  }

  /// As when the device appeared: a rule may ask for that.
  package static let trigger = "sudo udevadm trigger --action=add --settle"
}
