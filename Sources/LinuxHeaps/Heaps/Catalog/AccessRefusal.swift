internal import CLibrary
package import SystemPackage

/// Why this process cannot use a device node, or a socket's file, by the one cause that stands behind it: what ``HeapError``,
/// `heapctl`, `heapd` and `heapctl doctor` say.
package struct AccessRefusal: Equatable, Sendable {
  package enum Cause: String, Sendable {
    case directoryClosed = "directory-closed"
    case directoryWritable = "directory-writable"
    case nodeMissing = "node-missing"
    case danglingLink = "dangling-link"
    case notADevice = "not-a-device"
    case wrongDevice = "wrong-device"
    case deviceCGroup = "device-cgroup"
    case noDriver = "no-driver"
    case openFailed = "open-failed"
    case noDeviceMount = "nodev-mount"
    case userNamespace = "user-namespace"
    case securityModule = "security-module"
    case groupNotActive = "group-not-active"
    case notInGroup = "not-in-group"
    case wrongMode = "wrong-mode"
    case allocationRefused = "allocation-refused"
  }

  package let cause: Cause
  /// What follows the node's path: `is root:video 0660, and …`.
  package let seen: String
  /// What stands behind it.
  package let why: String
  package let fix: String

  /// Whether it is a right that is missing.
  package var isDenial: Bool {
    switch cause {
    case .directoryClosed, .noDeviceMount, .userNamespace, .securityModule, .groupNotActive,
      .notInGroup, .wrongMode:
      true
    default: false
    }
  }

  /// All of it, after the node's path.
  package var words: String { "\(seen): \(why). To fix it: \(fix)" }

  init(_ cause: Cause, _ seen: String, why: String, fix: String) {
    self.cause = cause
    self.seen = seen
    self.why = why
    self.fix = fix
  }
}

extension HeapError {
  /// - Parameters:
  ///   - errno: What the kernel answered; nil where it was not asked.
  ///   - what: What lies at the path.
  package init(
    _ refusal: AccessRefusal, _ operation: String, at path: String, _ errno: Errno? = nil,
    of what: String = "node"
  ) {
    let code: Code =
      switch refusal.cause {
      case .directoryClosed, .allocationRefused: .accessDenied
      case .nodeMissing, .danglingLink, .wrongDevice: .notFound
      case .notADevice: .notSupported
      default: errno.map { Code($0) } ?? .accessDenied
      }
    self.init(
      code, operation, at: path, cause: "the \(what) \(refusal.seen): \(refusal.why)", errno: errno,
      fix: refusal.fix)
  }
}

extension Errno {
  /// Whether what is at a path, or who asks, can be the cause; else it is for the process to mend, e.g. a full descriptor table.
  package var canBeOfNode: Bool {
    switch self {
    case .tooManyOpenFiles, .tooManyOpenFilesInSystem, .noMemory, .interrupted: false
    default: true
    }
  }
}

/// Why a system call was refused by what stands before the kernel's own answer.
struct CallRefusal {
  let call: String
  let code: HeapError.Code
  let why: String
  let fix: String

  /// A call that this kernel was built without.
  ///
  /// - Parameters:
  ///   - option: Which builds it.
  ///   - others: Which that depends on.
  init(missing call: String, option: String, needing others: String) {
    self.call = call
    code = .notSupported
    why = "the kernel was built without \(option)"
    fix = "use a kernel that has \(option), which needs \(others)"
  }

  /// Nil for an answer that is the kernel's or a driver's own.
  ///
  /// - Parameter isRegistered: Whether the node is known to be of the driver, which knows the request.
  init?(
    _ call: String, _ error: Errno, isRegistered: @autoclosure () -> Bool = false,
    in surroundings: @autoclosure () -> Surroundings = Surroundings()
  ) {
    let isFiltered: Bool
    let filter = "a seccomp filter of this process forbids it"
    let here: Surroundings
    switch error {
    case .notPermitted, .permissionDenied:
      isFiltered = Surroundings.hasSyscallFilter()
      here = surroundings()
      why =
        (isFiltered ? "\(filter), or a security module" : "a security module forbids it")
        + here.securityModules
    // Security modules answer neither of these.
    case .noFunction, .inappropriateIOCTLForDevice:
      guard error == .noFunction || isRegistered(), Surroundings.hasSyscallFilter() else {
        return nil
      }
      isFiltered = true
      here = surroundings()
      why = filter
    default: return nil
    }
    self.call = call
    code = .accessDenied
    fix = isFiltered ? here.allowCall(call) : Surroundings.denials
  }
}

extension HeapError {
  init(_ refusal: CallRefusal, _ operation: String, _ error: Errno) {
    let isMissing = refusal.code == .notSupported
    self.init(
      refusal.code, operation,
      cause: "\(refusal.call)(2) is \(isMissing ? "missing" : "refused"): \(refusal.why)",
      errno: error, fix: refusal.fix)
  }

  /// Why a device cannot be opened for reading and writing.
  ///
  /// - Parameter kind: The devices' name in /proc/devices.
  package init(_ errno: Errno, _ operation: String, opening path: String, kind: String) {
    let refusal =
      errno.canBeOfNode
      ? Surroundings().refusal(opening: path, kind: kind, isWritten: true) : nil
    if refusal?.cause == .notADevice {
      // A file of the user's own, perhaps: nothing to be removed.
      self.init(
        .wrongType, operation, at: path, cause: "it is no character device", errno: errno,
        fix: "name a device's node, e.g. of /dev")
    } else if let refusal, refusal.cause != .openFailed {
      self.init(refusal, operation, at: path, errno)
    } else {
      self.init(errno, operation, at: path)
    }
  }
}

extension HeapCatalog {
  /// Why a heap cannot be opened, or must not be taken for the one of its name; nil where it can be used, and where there is none.
  ///
  /// - Parameter heaps: Those of the catalogue, where they were listed just before.
  package func refusal(
    of name: String, among heaps: [HeapEntry]? = nil, in surroundings: Surroundings? = nil
  ) -> AccessRefusal? {
    let heaps = heaps ?? self.heaps()
    let entry = heaps.first { $0.name == name }
    let path = path(name)
    if entry?.isHeap == true && files.openingError(path) == nil { return nil }
    let surroundings = surroundings ?? Surroundings(files)
    let registered = number(of: name)
    let model = model(for: entry, among: heaps)
    let refusal = surroundings.refusal(
      opening: path, registered: registered, kind: "dma_heap", like: model)
    guard let disguise = entry?.disguise, refusal?.cause != .noDriver else { return refusal }
    let exposure = exposure()
    return AccessRefusal(
      .wrongDevice, disguise,
      why:
        "device numbers are assigned at each boot: a node from an image, or a node or link made by hand, can be of another device"
        + (exposure.map { "; \(directory) \($0.seen)" } ?? ""),
      fix: surroundings.make(
        path, registered, clearing: "sudo rm \(path.shellWord)", like: model, "dma_heap")
        + (exposure.map { " && \($0.fix)" } ?? ""))
  }

  /// Whose mode and group a heap's node gets that is made anew: its own, unless a link gives it another's, or another heap's.
  private func model(for entry: HeapEntry?, among heaps: [HeapEntry]) -> NodeStatus? {
    if let entry, entry.node?.device != nil,
      (try? SmallFile.link(files.path(path(entry.name)))) == nil
    {
      return entry.node
    }
    return heaps.first { $0.isHeap && $0.name != entry?.name }?.node
  }

  /// What lets others than root change which heaps there are.
  package func exposure() -> AccessRefusal? {
    guard let status = NodeStatus(files.path(directory)) else { return nil }
    // Of a list the group's bits are the mask: they may be another's right, which goes with them.
    let isShared =
      status.mode & 0o002 != 0
      || status.mode & 0o020 != 0 && (status.groupID != 0 || status.listedGroupMode != nil)
    // An owner that is not mapped is the host's, and can be its root.
    let isOwned = status.userID != 0 && !Credentials(files).hasUnmappedOwner(status)
    guard isShared || isOwned else { return nil }
    return AccessRefusal(
      .directoryWritable, "is \(status.withList), so that others than root may write to it",
      why: "anybody who may can put another node, or a link, in a heap's place",
      fix: (isOwned ? "sudo chown root \(directory)" : "")
        + (isOwned && isShared ? " && " : "") + (isShared ? "sudo chmod go-w \(directory)" : ""))
  }

  /// The heaps that the kernel has, and that have no node here that can be seen.
  package func missing() -> [String] {
    let names = names
    return registered.keys.filter { !names.contains($0) }.sorted()
  }

  /// Why the directory shows no heap, in words that follow its path; nil where it does, or where the kernel has none.
  package func absence() -> AccessRefusal? {
    do throws(Errno) {
      if !(try SmallFile.entries(of: files.path(directory))).isEmpty { return nil }
    } catch .permissionDenied {
      return Surroundings(files).unlisted(directory)
    } catch {}
    let missing = missing()
    guard let first = missing.first, let number = registered[first] else { return nil }
    let one = Surroundings(files).missing(
      path(first), number, like: model(for: nil, among: heaps()), "dma_heap")
    return AccessRefusal(
      .nodeMissing, "has no node here, and the kernel has \(missing.joined(separator: ", "))",
      why: one.why, fix: one.fix)
  }
}

extension Surroundings {
  /// Why a node cannot be opened.
  ///
  /// - Parameters:
  ///   - registered: `MAJOR:MINOR` of the device that the kernel has for it, nil where it has none or does not tell.
  ///   - kind: The devices' name in /proc/devices.
  ///   - sibling: Whose mode and group one gets that is made anew.
  ///   - isWritten: Whether it is to be opened for writing, too. A heap is not.
  /// - Returns: Nil where it can.
  package func refusal(
    opening path: String, registered: String? = nil, kind: String, like sibling: NodeStatus? = nil,
    isWritten: Bool = false
  ) -> AccessRefusal? {
    let status = NodeStatus(files.path(path))
    if status == nil || status?.isUsable == false, let closed = closedDirectory(of: path) {
      return closed
    }
    guard let status else {
      guard files.isDangling(path) else {
        return registered.map { missing(path, $0, like: sibling, kind) }
      }
      return AccessRefusal(
        .danglingLink, "is a link to what is not there",
        why: "a link made by hand or by an image, for a kernel that has what it leads to",
        fix: make(path, registered, clearing: "sudo rm \(path.shellWord)", like: sibling, kind))
    }
    guard status.device != nil else {
      return AccessRefusal(
        .notADevice, "is no character device",
        why: "something put a file where the kernel's node belongs: requests fail with ENOTTY",
        fix: make(path, registered, clearing: "sudo rm -r \(path.shellWord)", like: sibling, kind))
    }
    switch files.openingError(path, isWritten ? O_RDWR : O_RDONLY) {
    case nil: return nil
    case .permissionDenied: return denied(path, status, kind, isWritten ? 6 : 4)
    case .notPermitted:
      return AccessRefusal(
        .deviceCGroup, "is \(status), and open(2) answers EPERM",
        why:
          "a control group forbids the device, whatever its mode: the container's or unit's list of devices lacks it",
        fix: allowDevice(kind, path))
    case .noSuchAddressOrDevice, .operationNotSupportedByDevice:
      return AccessRefusal(
        .noDriver, "has no driver behind it",
        why: "the node was left by a module that is gone, or made by hand",
        fix: "sudo rm \(path.shellWord)  # the node is created when its driver registers the device"
      )
    case let error? where !error.canBeOfNode: return nil
    case let error?:
      return AccessRefusal(
        .openFailed, "cannot be opened: \(error)", why: "nothing can be allocated from it",
        fix: "sudo strace -e openat head -c0 \(path.shellWord)  # as root, to compare")
    }
  }

  private static let socket = "socket"

  private func ofSocket(_ path: String, _ status: NodeStatus) -> String {
    let access = giveAccess(
      to: path, status, Self.socket,
      with: ["\(path).observer"].filter { files.exists($0) && NodeStatus(files.path($0)) == status }
    )
    return access + (access.holds("  # ") ? "; " : "  # ")
      + "heapd keeps it by --group and --mode, its unit by SocketGroup= and SocketMode="
  }

  /// Why a socket's file does not let this process connect; nil where there is none.
  package func refusal(connectingTo path: String) -> AccessRefusal? {
    closedDirectory(of: path)
      ?? NodeStatus(files.path(path)).map { denied(path, $0, Self.socket, 2) }
  }

  /// The first directory on the way to a file that this process may not search.
  package func closedDirectory(of path: String) -> AccessRefusal? {
    guard path.hasPrefix("/") else { return nil }
    var directory = ""
    for part in path.split(separator: "/").dropLast() {
      directory += "/\(part)"
      guard unsafe access(files.path(directory), F_OK) == 0 else { return nil }
      if unsafe access(files.path(directory), X_OK) == 0 { continue }
      return closed(directory, "lies in \(directory), which is ", 1)
    }
    return nil
  }

  /// A directory that this process may not read.
  func unlisted(_ directory: String) -> AccessRefusal {
    closedDirectory(of: directory) ?? closed(directory, "is ", 4)
  }

  /// - Parameter bits: What was refused, as one digit of a mode.
  private func closed(_ directory: String, _ seen: String, _ bits: UInt32) -> AccessRefusal {
    let act = bits == 4 ? "read" : "search"
    let status = NodeStatus(files.path(directory))
    // A folder of devices, or heapd's own, is there for others. What else is closed is somebody's, and stays so: /root.
    let isForAll =
      directory == "/dev" || directory.hasPrefix("/dev/") || directory == "/run/heapd"
    // Not where a list may keep out whom the mode lets in.
    if isForAll, let status, status.listedGroupMode == nil, identity.mayOpen(status, bits) {
      return AccessRefusal(
        .directoryClosed,
        "\(seen)\(status), which lets \(identity.name) \(act) it, yet the kernel answers EACCES",
        why: "a security module forbids it\(securityModules)", fix: Self.denials)
    }
    return AccessRefusal(
      .directoryClosed,
      "\(seen)\(status?.withList ?? "closed"), and \(identity.name) may not \(act) it",
      why: "a file's own mode does not matter in a closed directory",
      fix: isForAll
        ? "sudo chmod 755 \(directory.shellWord)"
        : "use a path that \(identity.name) may reach, outside \(directory.shellWord)")
  }

  /// A node that the kernel has a device for, and that is not there.
  func missing(
    _ path: String, _ registered: String, like sibling: NodeStatus?, _ kind: String
  ) -> AccessRefusal {
    func refusal(_ why: String, fix: String) -> AccessRefusal {
      AccessRefusal(
        .nodeMissing, "is not there, and the kernel has its device", why: why, fix: fix)
    }
    if let container {
      return refusal(
        "a container (\(container)) has only the nodes that whoever starts it gives it",
        fix: giveDevice(path))
    }
    if hasPrivateDevices {
      return refusal(
        "this /dev is a unit's or a sandbox's own, and udev fills the machine's alone",
        fix: Self.editUnit("PrivateDevices=no"))
    }
    return refusal(
      "devtmpfs makes the node when the device is registered, and never again: something removed or hid it",
      fix: make(path, registered, like: sibling, kind))
  }

  /// - Parameters:
  ///   - kind: Of a device, or a socket.
  ///   - bits: What is to be allowed, as one digit of a mode.
  private func denied(
    _ path: String, _ status: NodeStatus, _ kind: String, _ bits: UInt32
  ) -> AccessRefusal {
    let isSocket = kind == Self.socket
    let (act, call) = isSocket ? ("connect to it", "connect(2)") : ("open it", "open(2)")
    if !isSocket, isOnNoDeviceMount(files.path(path)) {
      return AccessRefusal(
        .noDeviceMount, "is on a file system that is mounted nodev",
        why: "no device node on it can be opened, not even by root",
        fix: "sudo mount -o remount,dev $(findmnt -no TARGET -T \(path.shellWord))")
    }
    let groupMayOpen = status.groupMode & bits == bits
    if let unmapped = unmapped(status, groupMayOpen, bits, isSocket) { return unmapped }
    let user = identity.name
    if identity.mayOpen(status, bits) {
      return AccessRefusal(
        .securityModule, "is \(status), which lets \(user) \(act), and \(call) answers EACCES",
        why: "a security module forbids it\(securityModules)", fix: Self.denials)
    }
    if groupMayOpen, status.groupID != 0 {
      return identity.isMember(of: status.groupID)
        ? AccessRefusal(
          .groupNotActive,
          "is \(status), and this session of \(user) began before it joined \(status.group)",
          why: "groups are given to a process when its user logs in",
          fix: "newgrp \(status.group.shellWord)  # or log in again")
        : AccessRefusal(
          .notInGroup, "is \(status), and \(user) is not in the group \(status.group)",
          why: kind == "dma_heap"
            ? "to open a heap for reading is all that allocation takes, and the group has that right"
            : "the group has the right to \(act)",
          fix: join(status.groupID))
    }
    return AccessRefusal(
      .wrongMode,
      groupMayOpen
        ? "is \(status), and its group is root's own"
        : "is \(status.withList), which does not let its group \(status.group) \(act)",
      why: groupMayOpen
        ? "who joins that group may change much else"
        : status.listedGroupMode == nil
          ? "this mode lets no more than its owner in"
          : "the list names who may, e.g. whoever sits at the machine (a udev rule with TAG+=\"uaccess\")",
      fix: isSocket ? ofSocket(path, status) : giveAccess(to: path, status, kind))
  }

  /// Ids that a user namespace does not map are shown as the overflow ids, which are nobody's: neither they nor the
  /// namespace's capabilities give a right (`privileged_wrt_inode_uidgid`, kernel/capability.c).
  private func unmapped(
    _ status: NodeStatus, _ groupMayOpen: Bool, _ bits: UInt32, _ isSocket: Bool
  ) -> AccessRefusal? {
    let isGroup = identity.hasUnmappedGroup(status)
    let isOwner = identity.hasUnmappedOwner(status)
    guard status.mode & bits != bits, isGroup || isOwner && !groupMayOpen else { return nil }
    let whose = isGroup && isOwner ? "owner and group are" : isGroup ? "group is" : "owner is"
    return AccessRefusal(
      .userNamespace, "is \(status), and its \(whose) not mapped in this user namespace",
      why: "an id that is not mapped gives no right here, also not to the namespace's own root",
      fix: (groupMayOpen ? "" : "outside, give it a group that may open it; then ")
        + keepGroups + (isSocket ? "" : ", or ask heapd: --socket")
    )
  }

  /// Starts a container so that a group of the host's counts in it.
  private var keepGroups: String {
    switch manager {
    case .kubernetes: "set hostUsers of the pod  # to true: its ids are the node's then"
    case .lxc: "map its group  # on the host: lxc.idmap of the container"
    case .nspawn:
      "systemd-nspawn --private-users=no …  # its ids are the host's then"
    case .docker:
      start("--userns=host") + "  # its ids are the host's then (not where dockerd is rootless)"
    case .podman, .unknown, nil:
      "podman run --group-add keep-groups …  # started by a user of its group; or map that group (--gidmap)"
    }
  }

  /// Makes a node anew, for those who had it; udev's rules decide over it where udevd runs.
  ///
  /// - Parameters:
  ///   - registered: `MAJOR:MINOR`; without it nothing is made.
  ///   - clearing: What makes room for it.
  ///   - node: Whose mode and group it gets; without it root's alone, as the kernel makes nodes.
  ///   - kind: The devices' name in /proc/devices.
  func make(
    _ path: String, _ registered: String?, clearing: String? = nil, like node: NodeStatus?,
    _ kind: String
  ) -> String {
    guard let numbers = registered?.split(separator: ":").joined(separator: " ") else {
      return clearing ?? ""
    }
    let parts = path.split(separator: "/")
    let folder = "/" + parts.dropLast().joined(separator: "/")
    let (mode, word) = (String(node?.mode ?? 0o600, radix: 8), path.shellWord)
    return (clearing.map { $0 + " && " } ?? "")
      // Whatever root's umask is.
      + (files.exists(folder) ? "" : "sudo mkdir -p -m 755 \(folder.shellWord) && ")
      + "sudo mknod -m \(mode) \(word) c \(numbers)"
      + (node.map { $0.groupID == 0 ? "" : " && sudo chgrp \($0.group.shellWord) \(word)" } ?? "")
      + (files.exists("/run/udev/control")
        ? " && \(Self.trigger) "
          + (kind == "dma_heap"
            ? "--subsystem-match=dma_heap" : "--sysname-match=\(parts.last ?? "")")
        : "")
  }

  /// Why a request of a node that opened was refused; nil for an answer that is the driver's own.
  ///
  /// - Parameters:
  ///   - request: Asked for where it was refused.
  ///   - isRegistered: Whether the node is known to be the driver's, which knows the request.
  ///   - surroundings: Asked for where the answer can be another's than the driver's.
  package static func refusal(
    of request: @autoclosure () -> String, _ error: Errno,
    isRegistered: @autoclosure () -> Bool = false,
    in surroundings: @autoclosure () -> Surroundings = Surroundings()
  ) -> AccessRefusal? {
    guard
      let refusal = CallRefusal(
        "ioctl", error, isRegistered: isRegistered(), in: surroundings())
    else { return nil }
    return AccessRefusal(
      .allocationRefused, "opens, and \(request()) is refused", why: refusal.why, fix: refusal.fix)
  }

  /// Whether calls of this process go through a seccomp filter (proc(5)).
  static func hasSyscallFilter() -> Bool {
    MachineFiles().text("/proc/self/status")?.holds("\nSeccomp:\t2") == true
  }

  private func isOnNoDeviceMount(_ path: String) -> Bool {
    var status = statvfs()
    let noDevices: UInt = 4  // ST_NODEV, hidden behind _GNU_SOURCE
    return unsafe statvfs(path, &status) == 0 && status.f_flag & noDevices != 0
  }

  static var denials: String {
    "sudo ausearch -m AVC -ts recent; sudo dmesg | grep -iE 'avc|apparmor'  # the denial, and the missing rule"
  }

  var securityModules: String {
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
