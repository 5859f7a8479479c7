internal import CLibrary
internal import SystemPackage

/// Who asks, and where: what decides which nodes a process is given, and who can give it more.
package struct Surroundings: Sendable {
  package let files: MachineFiles
  package let identity: Credentials
  /// What made the container that this is, which has its host's kernel and nodes of its own.
  package let container: String?
  /// Whether its /dev is a unit's or a sandbox's, on a machine whose udev fills another: `PrivateDevices=` (systemd.exec(5))
  /// unmounts the kernel's and stays in the first PID namespace.
  let hasPrivateDevices: Bool

  package init(_ files: MachineFiles = MachineFiles()) {
    self.files = files
    identity = Credentials(files)
    let mounts = Self.mounts(files)
    container = Self.container(files, mounts)
    // udev needs devtmpfs: a board that fills a tmpfs by itself has none.
    hasPrivateDevices =
      container == nil && Self.hasOwnDevices(mounts) && files.exists("/run/udev/control")
  }

  // MARK: Containers

  /// The link of /proc/PID/ns/pid of the first PID namespace, on every kernel (`PROC_PID_INIT_INO`, linux/proc_ns.h).
  package static let firstPIDNamespace = "pid:[4026531836]"

  private typealias Mount = (point: Substring?, line: Substring)

  /// ID PARENT DEVICE ROOT MOUNT-POINT OPTIONS … - TYPE SOURCE OPTIONS
  private static func mounts(_ files: MachineFiles) -> [Mount] {
    (files.text("/proc/self/mountinfo", limit: 1 << 20) ?? "").lines
      .map { (point: $0.split(separator: " ", maxSplits: 5).dropFirst(4).first, line: $0) }
  }

  private static func hasOwnDevices(_ mounts: [Mount]) -> Bool {
    mounts.last { $0.point == "/dev" }?.line.holds(" - tmpfs ") == true
  }

  /// The folders that a mount is made of: its root within its file system, and those that an overlay joins. Not its source, e.g. a
  /// volume or a server, which has whatever name its owner chose.
  private static func folders(of mount: Mount) -> String {
    let root = mount.line.split(separator: " ", maxSplits: 4).dropFirst(3).first ?? ""
    let options = mount.line.parted(at: " - overlay ")?.after.split(separator: " ").last ?? ""
    return "\(root) \(options) "
  }

  private static func container(_ files: MachineFiles, _ mounts: [Mount]) -> String? {
    let group = files.text("/proc/1/cgroup") ?? ""
    // What managers put there themselves; other mounts of theirs a host has too.
    let own = mounts.filter { ["/", "/etc/hosts", "/etc/hostname"].contains($0.point) }
      .map { folders(of: $0) }.joined()
    func isMade(by word: String, in folder: String) -> Bool {
      group.holds(word) || own.holds("/\(folder)/")
    }
    // A pod has, besides, the files of what starts its containers: CRI-O's are Podman's.
    if variable("KUBERNETES_SERVICE_HOST", files) != nil || isMade(by: "kube", in: "kubelet") {
      return "Kubernetes"
    }
    if files.exists("/.dockerenv") { return "Docker" }
    if files.exists("/run/.containerenv") { return "Podman" }
    // systemd's container interface: the file is systemd's own, the variable every manager's.
    if let name = files.line("/run/systemd/container") ?? variable("container", files) {
      return name
    }
    for (word, folder, name) in [
      ("docker", "docker", "Docker"), ("libpod", "containers/storage", "Podman"),
      ("containerd", "containerd", "containerd"), ("lxc", "lxc", "LXC"),
    ] where isMade(by: word, in: folder) { return name }
    // The kernel's nodes are in its devtmpfs alone; a board without one, e.g. of OpenWrt, has a tmpfs that its own daemon fills.
    let isBoard =
      (try? SmallFile.link(files.path("/proc/self/ns/pid"))) == Self.firstPIDNamespace
      && !mounts.contains { $0.line.holds(" - devtmpfs ") }
    return !isBoard && hasOwnDevices(mounts) ? "a /dev of its own" : nil
  }

  private static func variable(_ name: String, _ files: MachineFiles) -> String? {
    guard files.root.isEmpty, let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }

  // MARK: Fixes

  /// What starts a container, in whose words its fixes are.
  enum Manager { case docker, podman, kubernetes, lxc, nspawn, unknown }

  /// Nil outside of containers.
  var manager: Manager? {
    guard let container else { return nil }
    switch container {
    case "Docker", "docker": return .docker
    case "Podman", "podman": return .podman
    case "Kubernetes": return .kubernetes
    case "LXC", "lxc", "lxc-libvirt": return .lxc
    case "systemd-nspawn": return .nspawn
    default: return .unknown
    }
  }

  /// Whether it has users and logins of its own, as a machine has.
  private var isSystem: Bool { container == nil || manager == .lxc || manager == .nspawn }

  /// - Parameter option: One of both docker and podman.
  func start(_ option: String) -> String {
    manager == .podman ? "podman run \(option) …" : "docker run \(option) …"
  }

  /// What ends the comment on such an option.
  var alsoPodman: String { manager == .podman ? "" : "; podman: the same" }

  /// Lets this user open what a group may open.
  package func join(_ group: UInt32) -> String {
    if manager == .kubernetes { return join(pod: "\(group)") }
    if !isSystem || container == nil && identity.isInUserNamespace {
      return start("--group-add \(group)") + "  # the group's number\(alsoPodman)"
    }
    let name = UserDatabase.name(ofGroup: group)
    // usermod(8) takes no number that the database has no group for; a unit does.
    return name == "\(group)" && identity.hasName
      ? "sudo \(hasBusyBoxGroups ? "addgroup" : "groupadd") -g \(group) heap\(group) && "
        + join(named: "heap\(group)")
      : join(named: name)
  }

  private func join(pod group: String) -> String {
    "add \(group) to securityContext.supplementalGroups of the pod"
  }

  package func join(named group: String) -> String {
    guard identity.hasName else { return Self.editUnit("SupplementaryGroups=\(group)") }
    let (name, user) = (group.shellWord, identity.name.shellWord)
    return "sudo "
      + (hasBusyBoxGroups ? "addgroup \(user) \(name)" : "usermod -aG \(name) \(user)")
      + "  # then log in again"
  }

  /// Makes a group of the system's where there is none of its name: BusyBox's addgroup fails where there is one.
  package func makeGroup(_ name: String) -> String {
    hasBusyBoxGroups
      ? "{ grep -q '^\(name):' /etc/group || sudo addgroup -S \(name); }"
      : "sudo groupadd -rf \(name)"
  }

  /// Whether BusyBox's addgroup is all that changes groups. Debian has an addgroup of other arguments, and usermod(8).
  private var hasBusyBoxGroups: Bool {
    files.hasProgram("addgroup") && !files.hasProgram("usermod")
  }

  /// Lets this user open a node, or connect to a socket, whose mode keeps its group out.
  func giveAccess(
    to path: String, _ node: NodeStatus, _ kind: String, with others: [String] = []
  ) -> String {
    let isAlone = node.groupID == 0
    let word = ([path] + others).map(\.shellWord).joined(separator: " ")
    let group = isAlone ? usualGroup(path, kind) : node.group
    // An image's number of a name need not be its host's: whoever starts the container asks the host.
    let number = isAlone ? isSystem ? UserDatabase.group(group) : nil : node.groupID
    let change =
      (number == nil && isSystem ? makeGroup(group) + " && " : "")
      + (isAlone ? "sudo chgrp \(group) \(word) && " : "") + "sudo chmod 660 \(word)"
      // Of a list, chmod(1) changes the mask alone; whom else it names keeps what it gives.
      + (node.listedGroupMode == nil ? "" : " && sudo setfacl -m g::rw \(word)")
    if let number, identity.groups.contains(number) { return change }
    if !isSystem {
      let known = number.map { "\($0)" }
      return manager == .kubernetes
        ? join(pod: known ?? "the cluster node's number of \(group)")
          + "  # once the cluster node has done: \(change)"
        : start("--group-add \(known ?? "$(getent group \(group) | cut -d: -f3)")")
          + "  # once the host has done: \(change)"
    }
    return "\(change) && " + (number.map { join($0) } ?? join(named: group))
  }

  /// Whose group nodes of a kind are by systemd's rules, and heaps and heapd's sockets by this package's.
  private func usualGroup(_ path: String, _ kind: String) -> String {
    switch kind {
    case "misc": "kvm"
    case "drm" where path.holds("renderD"): "render"
    case "socket": "heapd-clients"
    case "dma_heap": isSystem && UserDatabase.group("dmaheap") != nil ? "dmaheap" : "video"
    default: "video"
    }
  }

  /// Allows a device to a unit's, or a container's, control group.
  ///
  /// - Parameter kind: The devices' name in /proc/devices.
  func allowDevice(_ kind: String, _ path: String) -> String {
    container == nil ? Self.editUnit("DeviceAllow=char-\(kind) rw") : giveDevice(path)
  }

  /// Has a container started with a node, which its control group then allows.
  func giveDevice(_ path: String) -> String {
    let isHeap = path.hasPrefix(HeapCatalog.directory + "/")
    let given = isHeap ? HeapCatalog.directory : path.shellWord
    return switch manager {
    case .docker, .podman: start("--device \(given)")
    case .kubernetes: "request \(given) of a device plugin in the pod's resources.limits"
    // lxc-device(1) makes a node that an unprivileged container cannot open, and that is gone at its next start.
    case .lxc:
      "incus config device add CONTAINER NAME unix-char path=\(path.shellWord)"
        + "  # on the host; LXD: lxc config …; LXC: lxc.mount.entry and lxc.cgroup2.devices.allow"
    case .nspawn:
      "systemd-nspawn --bind=\(given)"
        + " --property=\("DeviceAllow=\(isHeap ? "char-dma_heap" : path) rw".shellWord) …"
        + "  # in systemd-nspawn@.service: Bind= of the .nspawn file, and DeviceAllow="
    case .unknown, nil:
      start("--device \(given)")
        + "  # podman: the same; systemd-nspawn: --bind=\(given); a pod: a device plugin"
    }
  }

  /// Has a container started with a filter that lets a call through.
  func allowCall(_ call: String) -> String {
    switch manager {
    case .kubernetes:
      "set securityContext.seccompProfile of the pod  # to a profile that allows \(call)(2)"
    case .lxc: "set lxc.seccomp.profile of the container  # to a profile that allows \(call)(2)"
    case .nspawn: "systemd-nspawn --system-call-filter=\(call) …"
    case nil:
      Self.editUnit("SystemCallFilter=\(call)") + "; other sandboxes have a list of their own"
    case .docker, .podman, .unknown:
      start("--security-opt seccomp=PROFILE")
        + "  # one that allows \(call)(2)\(alsoPodman)"
    }
  }

  /// Raises a container's memory limit. A container can only read the limit of its own control group, to which the kernel refuses
  /// even its root's writes (cgroup_file_write, kernel/cgroup/cgroup.c).
  ///
  /// - Parameter directory: The control group's.
  /// - Returns: Nil where it can be written.
  package func memoryLimit(of directory: String) -> String? {
    let isOwn = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"].contains(directory)
    return switch manager {
    case .kubernetes: "raise resources.limits.memory of the pod"
    case .docker, .unknown:
      "docker update --memory SIZE --memory-swap -1 CONTAINER  # on the host; or --memory at its start; podman: the same; a pod: resources.limits.memory"
    case .podman:
      "podman update --memory SIZE --memory-swap -1 CONTAINER  # on the host; or --memory at its start"
    case .lxc where isOwn:
      "incus config set CONTAINER limits.memory SIZE  # on the host; LXD: lxc config …; LXC: lxc.cgroup2.memory.max"
    case .nspawn where isOwn:
      "systemd-nspawn --property=MemoryMax=SIZE …  # or MemoryMax= of its unit, on the host"
    // The groups within are theirs.
    case .lxc, .nspawn, nil: nil
    }
  }

  /// Has a process run with a capability.
  package func giveCapability(_ name: String) -> String {
    switch manager {
    case nil: "run as root with CAP_\(name), outside of user namespaces"
    case .docker, .podman, .unknown: start("--cap-add \(name)")
    case .kubernetes: "add \(name) to securityContext.capabilities.add of the container"
    case .lxc, .nspawn: "run it on the host"
    }
  }

  /// - Parameter setting: Of its section `Service`.
  package static func editUnit(_ setting: String) -> String {
    "sudo systemctl edit UNIT  # of the unit that runs this: [Service] \(setting)"
  }

  /// Lets a process see the machine's files in /proc again.
  package static let wholeProc =
    editUnit("ProcSubset=all") + "; elsewhere: mount -t proc proc /proc"

  /// As when the device appeared: a rule may ask for that.
  package static let trigger = "sudo udevadm trigger --action=add --settle"
}
