import Glibc
import SystemPackage
import Testing

@testable import LinuxHeaps

@Suite struct AccessRefusalTests {
  /// A heap directory, and what the kernel has: `null` is device 1:3 everywhere, `zero` 1:5 and `full` 1:7.
  private struct Machine: ~Copyable {
    let nodes = try! HeapNodes()
    let registry = try! TemporaryDirectory()

    init(nodes links: [String: String], kernel: [String: String] = [:]) throws {
      for (name, target) in links { try nodes.nodes.link(name, to: target) }
      for (name, number) in kernel {
        try registry.directory(name)
        try registry.file("\(name)/dev", number + "\n")
      }
    }

    var catalog: HeapCatalog {
      HeapCatalog(
        directory: nodes.nodes.path, regionDirectory: nodes.regions.path, registry: registry.path)
    }
  }

  private static let kernel = ["system": "1:3", "default_cma_region": "1:5"]

  @Test func `each node is the heap of its name`() throws {
    let machine = try Machine(
      nodes: ["system": "/dev/null", "default_cma_region": "/dev/zero"], kernel: Self.kernel)
    #expect(machine.catalog.heaps().allSatisfy { $0.disguise == nil })
    for name in Self.kernel.keys { #expect(machine.catalog.refusal(of: name) == nil) }
    #expect(machine.catalog.missing() == [])
  }

  @Test(arguments: ["/dev/null", "system"])
  func `a name that lies has the role of its device, and is refused`(_ target: String) throws {
    let machine = try Machine(
      nodes: ["system": "/dev/null", "reserved": target],
      kernel: target == "system" ? [:] : ["system": "1:3"])
    let heap = try #require(machine.catalog.heap("reserved"))
    #expect(heap.role == .system)
    #expect(heap.duplicateOf == "system")
    #expect(machine.catalog.names(of: .contiguous) == [])
    #expect(machine.catalog.role(of: "reserved") == .system)
    let refusal = try #require(machine.catalog.refusal(of: "reserved"))
    #expect(refusal.cause == .wrongDevice)
    #expect(refusal.seen == "is the heap system, whose memory is system and not contiguous")
    for contiguous in [false, true] {
      let heap = DMABufHeap(heaps: ["reserved"], catalog: machine.catalog)
      let error = #expect(throws: HeapError.self) {
        _ = try heap.allocateVmo(
          size: 1, settings: contiguous ? .contiguous : SingleBufferSettings(),
          bufferCollectionID: 0, bufferIndex: 0)
      }
      #expect(error?.code == .notFound)
      #expect(error?.cause.contains("is the heap system") == true)
    }
  }

  @Test func `two nodes that changed places are refused, and none serves by itself`() throws {
    let machine = try Machine(
      nodes: ["system": "/dev/zero", "default_cma_region": "/dev/null"], kernel: Self.kernel)
    #expect(machine.catalog.heap("system")?.role == .contiguous)
    #expect(
      machine.catalog.refusal(of: "system")?.seen
        == "is device 1:5, the heap default_cma_region, and the kernel's heap is 1:3")
    for role in [HeapRole.system, .contiguous] { #expect(machine.catalog.names(of: role) == []) }
    let error = #expect(throws: HeapError.self) {
      _ = try DMABufHeap(catalog: machine.catalog).allocateVmo(
        size: 1, settings: .contiguous, bufferCollectionID: 0, bufferIndex: 0)
    }
    #expect(error?.path?.lastComponent == "default_cma_region")
  }

  @Test func `a link of another name has the role of what it leads to`() throws {
    let machine = try Machine(
      nodes: ["system": "/dev/null", "linux,cma": "/dev/zero", "vidbuf_cached": "linux,cma"],
      kernel: ["system": "1:3", "linux,cma": "1:5"])
    let link = try #require(machine.catalog.heap("vidbuf_cached"))
    #expect(link.role == .contiguous)
    #expect(link.duplicateOf == "linux,cma")
    #expect(machine.catalog.refusal(of: "vidbuf_cached") == nil)
  }

  @Test func `a device that is none of the kernel's heaps`() throws {
    let machine = try Machine(
      nodes: ["system": "/dev/null", "camera": "/dev/full"], kernel: ["system": "1:3"])
    let refusal = try #require(machine.catalog.refusal(of: "camera"))
    #expect(refusal.seen == "is device 1:7, which is none of the kernel's heaps")
    #expect(!refusal.fix.contains("mknod"))
    // Where sysfs tells of no heap nothing is known of it.
    #expect(try Machine(nodes: ["camera": "/dev/full"]).catalog.refusal(of: "camera") == nil)
  }

  @Test func `heaps whose nodes are not there are not denied`() throws {
    let machine = try Machine(nodes: [:], kernel: Self.kernel)
    #expect(machine.catalog.missing() == ["default_cma_region", "system"])
    #expect(
      machine.catalog.absence()?.seen
        == "has no node here, and the kernel has default_cma_region, system")
    for contiguous in [false, true] {
      let error = #expect(throws: HeapError.self) {
        _ = try DMABufHeap(catalog: machine.catalog).allocateVmo(
          size: 1, settings: contiguous ? .contiguous : SingleBufferSettings(),
          bufferCollectionID: 0, bufferIndex: 0)
      }
      #expect(error?.code == .notFound)
      #expect(error?.cause.contains("the kernel has its device") == true)
    }
  }

  @Test func `a request that is refused is not the node's fault`() {
    for error in [Errno.notPermitted, .permissionDenied] {
      let refusal = Surroundings.refusal(of: "DMA_HEAP_IOCTL_ALLOC", error)
      #expect(refusal?.cause == .allocationRefused)
      #expect(refusal?.fix.contains("rm ") == false)
    }
  }

  @Test func `a call that the kernel was built without is no security module's denial`() throws {
    if !Surroundings.hasSyscallFilter() {
      #expect(CallRefusal("memfd_create", .noFunction) == nil)
      #expect(Surroundings.refusal(of: "DMA_HEAP_IOCTL_ALLOC", .noFunction) == nil)
    }
    let error = HeapError(
      try #require(Memfd.absence(.noFunction)), "allocate 1 MiB", .noFunction)
    #expect(error.code == .notSupported)
    #expect(
      error.cause
        == "memfd_create(2) is missing: the kernel was built without CONFIG_MEMFD_CREATE")
    #expect(error.fix?.contains("CONFIG_TMPFS") == true)
    // It works here, or is refused by another answer.
    #expect(Memfd.refusal(.noFunction) == nil || Surroundings.hasSyscallFilter())
    #expect(Memfd.absence(.notPermitted) == nil)
  }

  /// With a full descriptor table nothing could be read there.
  @Test func `who asks is not looked at for an answer that is the driver's or the process's own`() {
    func surroundings() -> Surroundings {
      Issue.record("looked at")
      return Surroundings()
    }
    for error in [
      Errno.noMemory, .invalidArgument, .ioError, .tooManyOpenFiles, .tooManyOpenFilesInSystem,
    ] {
      #expect(
        Surroundings.refusal(of: "DMA_HEAP_IOCTL_ALLOC", error, in: surroundings()) == nil)
    }
  }

  /// Whoever may write to the directory chooses names.
  @Test func `a name is one word of the fix`() throws {
    let machine = try Machine(nodes: ["x'; $(reboot)": "/dev/full"], kernel: Self.kernel)
    let fix = try #require(machine.catalog.refusal(of: "x'; $(reboot)")?.fix)
    // The directory is told, too, where the tests' user owns it.
    #expect(fix.hasPrefix("sudo rm '\(machine.nodes.nodes.path)/x'\\''; $(reboot)'"))
    #expect("/dev/dma_heap/linux,cma@0".shellWord == "/dev/dma_heap/linux,cma@0")
  }

  @Test func `a directory that cannot be read has not no heap`() throws {
    let folder = try TemporaryDirectory()
    try folder.file("dma_heap", "")
    let catalog = HeapCatalog(directory: folder.path + "/dma_heap", regionDirectory: "/nonexistent")
    let error = #expect(throws: HeapError.self) { try catalog.checkReadable("list heaps") }
    #expect(error?.errno == .notDirectory)
    let refused = #expect(throws: HeapError.self) {
      _ = try DMABufHeap(catalog: catalog).allocateVmo(
        size: 1, settings: SingleBufferSettings(), bufferCollectionID: 0, bufferIndex: 0)
    }
    #expect(refused?.errno == .notDirectory)
    #expect(throws: Never.self) {
      try HeapCatalog(directory: "/nonexistent", regionDirectory: "/nonexistent").checkReadable("")
    }
  }

  @Test func `a file in a heap's place is none, for who lists and for who allocates`() throws {
    let machine = try Machine(nodes: ["default_cma_region": "/dev/null"], kernel: Self.kernel)
    try machine.nodes.nodes.file("system", "")
    #expect(machine.catalog.heap("system")?.isUsable == false)
    let error = #expect(throws: HeapError.self) {
      _ = try DMABufHeap(heaps: ["system"], catalog: machine.catalog).allocateVmo(
        size: 1, settings: SingleBufferSettings(), bufferCollectionID: 0, bufferIndex: 0)
    }
    #expect(error?.code == .notSupported)
    #expect(error?.cause.hasPrefix("the node is no character device") == true)
  }

  @Test func `a node that lies in a directory that others may write to is told with that`() throws {
    let machine = try Machine(nodes: ["system": "/dev/zero"], kernel: ["system": "1:3"])
    func refusal() throws -> AccessRefusal { try #require(machine.catalog.refusal(of: "system")) }
    #expect(try refusal().words.contains("may write") == (geteuid() != 0))
    #expect(unsafe chmod(machine.nodes.nodes.path, 0o777) == 0)
    #expect(try refusal().why.contains("0777, so that others than root may write to it"))
    #expect(try refusal().fix.hasSuffix(" && sudo chmod go-w \(machine.nodes.nodes.path)"))
  }

  @Test(.enabled(if: geteuid() == 0, "needs root to give a directory away"))
  func `a directory that a user owns is told, and root's again`() throws {
    let machine = try Machine(nodes: ["system": "/dev/null"], kernel: Self.kernel)
    let path = machine.nodes.nodes.path
    #expect(machine.catalog.exposure() == nil)
    #expect(unsafe chown(path, 3_999_999, 0) == 0)
    #expect(
      machine.catalog.exposure()?.seen
        == "is 3999999:root 0700, so that others than root may write to it")
    #expect(machine.catalog.exposure()?.fix == "sudo chown root \(path)")
    #expect(unsafe chmod(path, 0o777) == 0)
    #expect(
      machine.catalog.exposure()?.fix == "sudo chown root \(path) && sudo chmod go-w \(path)")
  }

  /// AppArmor answers so to opendir(3).
  @Test func `a directory whose mode lets a user in is closed by a security module`() throws {
    let root = try TemporaryDirectory()
    for folder in ["proc/self", "dev/dma_heap"] { try root.directory(folder) }
    try root.file(
      "proc/self/status", "Uid:\t54321\t54321\t54321\t54321\nGid:\t54321\t54321\t54321\t54321\n")
    let surroundings = Surroundings(MachineFiles(root: root.path))
    let directory = root.path + "/dev/dma_heap"
    func refusal(_ mode: mode_t) -> AccessRefusal {
      #expect(unsafe chmod(directory, mode) == 0)
      return surroundings.unlisted("/dev/dma_heap")
    }
    let refused = refusal(0o755)
    #expect(refused.cause == .directoryClosed)
    #expect(
      refused.seen.hasSuffix(" 0755, which lets 54321 read it, yet the kernel answers EACCES"))
    #expect(refused.why == "a security module forbids it")
    #expect(refused.fix == Surroundings.denials)
    #expect(refusal(0o711).seen.hasSuffix(" 0711, and 54321 may not read it"))
    #expect(refusal(0o711).fix == "sudo chmod 755 /dev/dma_heap")
  }

  // MARK: Who asks

  private static func credentials(_ files: [String: String]) throws -> Credentials {
    let root = try TemporaryDirectory()
    for folder in ["proc", "proc/self", "proc/sys", "proc/sys/kernel"] {
      try root.directory(folder)
    }
    for (path, text) in files { try root.file("proc/\(path)", text) }
    return Credentials(MachineFiles(root: root.path))
  }

  private static let root = """
    Uid:\t0\t0\t0\t0
    Gid:\t0\t0\t0\t0
    Groups:\t65534
    CapEff:\t000001ffffffffff

    """

  @Test(arguments: ["         0       1000          1\n", ""])
  func `ids that are not mapped give no right, whatever the capabilities`(_ map: String) throws {
    let node = try #require(NodeStatus("/dev/null"))
    let (user, group) = ("\(node.userID)\n", "\(node.groupID)\n")
    func asker(_ map: String) throws -> Credentials {
      try Self.credentials([
        "self/status": Self.root, "self/uid_map": map, "self/gid_map": map,
        "sys/kernel/overflowuid": user, "sys/kernel/overflowgid": group,
      ])
    }
    let inside = try asker(map)
    #expect(inside.isInUserNamespace)
    #expect(inside.hasUnmappedOwner(node) && inside.hasUnmappedGroup(node))
    let outside = try asker("         0          0 4294967295\n")
    #expect(!outside.isInUserNamespace)
    #expect(!outside.hasUnmappedOwner(node) && !outside.hasUnmappedGroup(node))
    #expect(outside.mayOpen(node))
  }

  @Test(
    arguments: [
      ("proc/1/cgroup", "0::/kubepods.slice/pod1\n", "Kubernetes"),
      ("proc/1/cgroup", "4:memory:/docker/0123\n", "Docker"),
      ("proc/1/cgroup", "0::/machine.slice/libpod-0123.scope\n", "Podman"),
      ("proc/1/cgroup", "0::/lxc.payload.box\n", "LXC"),
      (
        "proc/self/mountinfo",
        "9 1 8:1 /var/lib/kubelet/pods/1/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n",
        "Kubernetes"
      ),
      (
        "proc/self/mountinfo", "9 1 0:9 / / rw - overlay overlay rw,lowerdir=/var/lib/docker/a\n",
        "Docker"
      ),
      (
        "proc/self/mountinfo",
        "9 1 0:9 /@/var/lib/docker/btrfs/subvolumes/a / rw - btrfs /dev/sda2 rw\n", "Docker"
      ),
      (
        "proc/self/mountinfo",
        "9 1 0:9 / / rw - overlay overlay rw,lowerdir=/var/lib/containers/storage/overlay/l/A\n",
        "Podman"
      ),
      ("proc/self/mountinfo", "9 1 0:9 / /dev rw,nosuid - tmpfs tmpfs rw\n", "a /dev of its own"),
      ("run/systemd/container", "systemd-nspawn\n", "systemd-nspawn"),
      // CRI-O's, which a pod has, too.
      ("run/.containerenv", "", "Podman"),
      ("proc/1/cgroup", "0::/init.scope\n", nil),
      // A host that has containers.
      (
        "proc/self/mountinfo",
        "9 1 0:9 / /var/lib/docker/overlay2/a/merged rw - overlay overlay rw\n9 1 0:6 / /dev rw - devtmpfs devtmpfs rw\n",
        nil
      ),
      // One that is named for what it runs.
      (
        "proc/self/mountinfo", "9 1 254:0 / / rw - ext4 /dev/mapper/docker01--vg-root rw\n", nil
      ),
      ("proc/self/mountinfo", "9 1 0:9 / / rw - zfs rpool/lxc/host rw,xattr\n", nil),
      ("proc/self/mountinfo", "9 1 0:9 / / rw - nfs server:/srv/docker/board rw\n", nil),
      ("proc/self/mountinfo", "9 1 0:9 /@kube1 / rw - btrfs /dev/sda2 rw,subvol=/@kube1\n", nil),
    ] as [(String, String, String?)])
  func `a container is known without a marker file`(
    _ path: String, _ text: String, _ name: String?
  ) throws {
    let root = try TemporaryDirectory()
    for folder in ["proc", "proc/1", "proc/self", "run", "run/systemd"] {
      try root.directory(folder)
    }
    try root.file(path, text)
    #expect(Surroundings(MachineFiles(root: root.path)).container == name)
    if name == "Kubernetes" {
      try root.file("run/.containerenv")
      #expect(Surroundings(MachineFiles(root: root.path)).container == name)
    }
  }

  /// Its own daemon fills a tmpfs, as OpenWrt's does. What was made private of a /dev has the kernel's beneath it.
  @Test(arguments: [("", nil), ("8 1 0:6 / /dev rw - devtmpfs devtmpfs rw\n", "a /dev of its own")])
  func `a board without devtmpfs is no container`(_ below: String, _ name: String?) throws {
    let root = try TemporaryDirectory()
    try root.directory("proc/self/ns")
    try root.file("proc/self/mountinfo", below + "9 1 0:9 / /dev rw,nosuid - tmpfs tmpfs rw\n")
    try root.link("proc/self/ns/pid", to: "pid:[4026531836]")
    #expect(Surroundings(MachineFiles(root: root.path)).container == name)
  }

  /// As systemd makes it for a unit with `PrivateDevices=`: the kernel's is unmounted, and udev runs.
  @Test(arguments: [true, false])
  func `a unit's own dev has no node made in it`(_ hasUdev: Bool) throws {
    let root = try TemporaryDirectory()
    for folder in ["proc/self/ns", "run/udev"] { try root.directory(folder) }
    try root.file("proc/self/mountinfo", "9 1 0:9 / /dev rw,nosuid - tmpfs tmpfs rw\n")
    try root.link("proc/self/ns/pid", to: Surroundings.firstPIDNamespace)
    if hasUdev { try root.file("run/udev/control") }
    let surroundings = Surroundings(MachineFiles(root: root.path))
    #expect(surroundings.container == nil)
    let refusal = surroundings.missing(
      "/dev/dma_heap/system", "254:0", like: nil, "dma_heap")
    #expect(refusal.fix.contains("mknod") == !hasUdev)
    #expect(refusal.fix.hasSuffix("[Service] PrivateDevices=no") == hasUdev)
  }

  /// What makes containers, and its words for a group, a device and a call.
  @Test(
    arguments: [
      (
        "docker", "docker run --group-add 3999 …  # the group's number; podman: the same",
        "docker run --device /dev/dma_heap …",
        "docker run --security-opt seccomp=PROFILE …  # one that allows ioctl(2); podman: the same"
      ),
      (
        "podman", "podman run --group-add 3999 …  # the group's number",
        "podman run --device /dev/dma_heap …",
        "podman run --security-opt seccomp=PROFILE …  # one that allows ioctl(2)"
      ),
      (
        "Kubernetes", "add 3999 to securityContext.supplementalGroups of the pod",
        "request /dev/dma_heap of a device plugin in the pod's resources.limits",
        "set securityContext.seccompProfile of the pod  # to a profile that allows ioctl(2)"
      ),
      (
        "lxc", nil,
        "incus config device add CONTAINER NAME unix-char path=/dev/dma_heap/system  # on the host; LXD: lxc config …; LXC: lxc.mount.entry and lxc.cgroup2.devices.allow",
        "set lxc.seccomp.profile of the container  # to a profile that allows ioctl(2)"
      ),
      (
        "systemd-nspawn", nil,
        "systemd-nspawn --bind=/dev/dma_heap --property='DeviceAllow=char-dma_heap rw' …  # in systemd-nspawn@.service: Bind= of the .nspawn file, and DeviceAllow=",
        "systemd-nspawn --system-call-filter=ioctl …"
      ),
    ] as [(String, String?, String, String)])
  func `a fix is in the words of what made the container`(
    _ name: String, _ group: String?, _ device: String, _ call: String
  ) throws {
    let root = try Self.container(name)
    let surroundings = Surroundings(MachineFiles(root: root.path))
    // Those with users of their own have them join a group of theirs.
    if let group { #expect(surroundings.join(3999) == group) }
    #expect(surroundings.allowDevice("dma_heap", "/dev/dma_heap/system") == device)
    #expect(surroundings.allowCall("ioctl") == call)
    #expect(surroundings.memoryLimit(of: "/sys/fs/cgroup") != nil)
    #expect((surroundings.memoryLimit(of: "/sys/fs/cgroup/a") == nil) == (group == nil))
  }

  @Test(arguments: ["lxc", "systemd-nspawn"])
  func `a container with users of its own has them join its groups`(_ name: String) throws {
    let root = try Self.container(name)
    let surroundings = Surroundings(MachineFiles(root: root.path))
    #expect(!surroundings.join(0).contains("docker"))
    #expect(!surroundings.giveCapability("SYS_PTRACE").contains("docker"))
  }

  /// The image's number of the same name may be another.
  @Test func `a container is given the number that its host has for a group`() throws {
    let root = try Self.container("docker")
    let node = try #require(NodeStatus("/dev/null"))
    guard node.groupID == 0 else { return }
    let fix = Surroundings(MachineFiles(root: root.path)).giveAccess(
      to: "/dev/dri/renderD128", node, "drm")
    #expect(
      fix
        == "docker run --group-add $(getent group render | cut -d: -f3) …  # once the host has done: sudo chgrp render /dev/dri/renderD128 && sudo chmod 660 /dev/dri/renderD128"
    )
  }

  private static func container(_ name: String) throws -> TemporaryDirectory {
    let root = try TemporaryDirectory()
    for folder in ["proc/self", "run/systemd"] { try root.directory(folder) }
    try root.file("run/systemd/container", name + "\n")
    try root.file("proc/self/status", "Uid:\t1000\t1000\t1000\t1000\nGid:\t1\t1\t1\t1\n")
    return root
  }
}
