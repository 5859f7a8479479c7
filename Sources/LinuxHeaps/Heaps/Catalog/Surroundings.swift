internal import Glibc
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

  private static func container(_ files: MachineFiles) -> String? {
    if files.exists("/.dockerenv") { return "Docker" }
    if files.exists("/run/.containerenv") { return "Podman" }
    // systemd's container interface: the file is systemd's own, the variable every manager's.
    if let name = files.line("/run/systemd/container") ?? variable("container", files) {
      return name
    }
    if variable("KUBERNETES_SERVICE_HOST", files) != nil { return "Kubernetes" }
    // ID PARENT DEVICE ROOT MOUNT-POINT OPTIONS … - TYPE SOURCE OPTIONS
    let mounts = (files.text("/proc/self/mountinfo", limit: 1 << 20) ?? "").split(separator: "\n")
      .map { (point: $0.split(separator: " ", maxSplits: 5).dropFirst(4).first, line: $0) }
    // What managers put there themselves; other mounts of theirs a host has too.
    let own = mounts.filter { ["/", "/etc/hosts", "/etc/hostname"].contains($0.point) }.map(\.line)
    let hints = ([files.text("/proc/1/cgroup") ?? ""] + own.map(String.init)).joined()
    for (hint, name) in [
      ("kube", "Kubernetes"), ("docker", "Docker"), ("libpod", "Podman"),
      ("containers/storage", "Podman"), ("containerd", "containerd"), ("lxc", "LXC"),
    ] where hints.holds(hint) { return name }
    // The kernel's nodes are in its devtmpfs alone.
    return mounts.last { $0.point == "/dev" }?.line.holds(" - tmpfs ") == true
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
    let (name, user) = (UserDatabase.name(ofGroup: group), identity.name)
    if user == "\(identity.user)" {
      return
        "sudo systemctl edit UNIT  # of the unit that runs this: [Service] SupplementaryGroups=\(group)"
    }
    // usermod(8) takes no number that the database has no group for.
    return name == "\(group)"
      ? "sudo groupadd -g \(group) heap\(group) && sudo usermod -aG heap\(group) \(user)  # then log in again"
      : "sudo usermod -aG \(name) \(user)  # then log in again"
  }

  /// Lets this user open nodes of one owner, group and mode.
  ///
  /// - Parameter group: For nodes that are root's alone.
  package func giveAccess(
    to paths: [String], _ node: NodeStatus, group: String = "video"
  ) -> String {
    if let refusal = unmapped(node) { return refusal.fix }
    let paths = paths.joined(separator: " ")
    if node.groupID == 0 {
      let number = UserDatabase.group(group)
      return "sudo chgrp \(group) \(paths) && sudo chmod 660 \(paths)"
        + (number.map { " && " + join($0) } ?? "")
    }
    return (node.mode & 0o040 == 0 ? "sudo chmod g+rw \(paths) && " : "") + join(node.groupID)
  }

  /// - Parameter kind: The devices' name in /proc/devices.
  package func allowDevice(_ kind: String, _ paths: [String]) -> String {
    container == nil
      ? "sudo systemctl edit UNIT  # of the unit that runs this: [Service] DeviceAllow=char-\(kind) rw"
      : "docker run \(paths.map { "--device \($0)" }.joined(separator: " ")) …"
  }
}
