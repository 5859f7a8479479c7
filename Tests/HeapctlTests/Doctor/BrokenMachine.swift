import Testing

/// A machine with one thing wrong, and what has to be found.
struct BrokenMachine: Sendable, CustomTestStringConvertible {
  let testDescription: String
  var broken: [String] = []
  var warnings: [String] = []
  /// Whether who asks is an ordinary user, to whom modes matter.
  var asNobody = false
  let spoil: @Sendable (MachineTree) throws -> Void

  init(
    _ description: String, broken: [String] = [], warnings: [String] = [], asNobody: Bool = false,
    _ spoil: @escaping @Sendable (MachineTree) throws -> Void
  ) {
    testDescription = description
    self.broken = broken
    self.warnings = warnings
    self.asNobody = asNobody
    self.spoil = spoil
  }

  static let all = kernels + nodes + regions + surroundings

  private static let kernels: [BrokenMachine] = [
    .init("a kernel without heaps", broken: ["kernel.heaps-off"]) {
      try $0.configure("CONFIG_UDMABUF=y")
      withoutHeaps($0)
    },
    .init("heaps, and no kind of heap", broken: ["kernel.no-heap-option"]) {
      try $0.configure("CONFIG_DMABUF_HEAPS=y")
      withoutHeaps($0)
    },
    .init("an old kernel", broken: ["kernel.too-old"]) {
      try $0.file("/proc/sys/kernel/osrelease", "4.19.0-21-arm64\n")
      withoutHeaps($0)
    },
    .init("a kernel that does not show its options", broken: ["kernel.no-heap"]) {
      $0.remove("/boot")
      withoutHeaps($0)
    },
    .init("no sysfs, and a kernel that does not show its options", broken: ["kernel.no-sysfs"]) {
      $0.remove("/boot")
      withoutHeaps($0)
      $0.remove("/sys/class")
    },
    .init("no sysfs, and the heaps are modules", broken: ["kernel.no-sysfs"]) {
      try $0.configure("CONFIG_DMABUF_HEAPS=y\nCONFIG_DMABUF_HEAPS_SYSTEM=m")
      withoutHeaps($0)
      $0.remove("/sys/class")
    },
    .init("no sysfs, and a kernel without heaps", broken: ["kernel.heaps-off"]) {
      try $0.configure("CONFIG_UDMABUF=y")
      withoutHeaps($0)
      $0.remove("/sys/class")
    },
    .init("the heaps are modules", broken: ["kernel.module-not-loaded"]) {
      try $0.configure("CONFIG_DMABUF_HEAPS=y\nCONFIG_DMABUF_HEAPS_SYSTEM=m")
      withoutHeaps($0)
    },
    .init("no system heap", warnings: ["kernel.no-system-heap"]) {
      try $0.configure("CONFIG_DMABUF_HEAPS=y\nCONFIG_DMABUF_HEAPS_CMA=y\nCONFIG_UDMABUF=y")
      withoutHeap("system", $0)
    },
  ]

  private static let nodes: [BrokenMachine] = [
    .init("no node", broken: ["heap.node-missing"]) { $0.remove("/dev/dma_heap/system") },
    .init("no nodes in a container", broken: ["heap.node-missing"]) {
      try $0.file("/.dockerenv", "")
      $0.remove("/dev/dma_heap")
    },
    .init("a file in the node's place", broken: ["heap.not-a-device"]) {
      $0.remove("/dev/dma_heap/system")
      try $0.file("/dev/dma_heap/system", "")
    },
    .init("a node of another device", broken: ["heap.wrong-device"]) {
      try $0.node("/dev/dma_heap/system", minor: 7, mode: 0o660, group: MachineTree.video)
    },
    .init("not in the group", broken: ["heap.not-in-group"], asNobody: true) {
      try $0.user(groups: [])
      withoutService($0)
    },
    .init("not in the group, and heapd serves", warnings: ["heap.not-in-group"], asNobody: true) {
      try $0.user(groups: [])
      $0.mode("/run/heapd/heap.sock", 0o666)
    },
    .init("no rule", broken: ["udev.no-rule"], asNobody: true) {
      try closed($0)
      $0.remove("/etc/udev")
      withoutService($0)
    },
    .init("no rule, and mdev makes the nodes", broken: ["heap.wrong-mode"], asNobody: true) {
      try closed($0)
      $0.remove("/etc/udev")
      try $0.file("/proc/77/comm", "mdev\n")
      withoutService($0)
    },
    .init("a rule, and mdev makes the nodes", broken: ["heap.wrong-mode"], asNobody: true) {
      try closed($0)
      try $0.file("/proc/77/comm", "mdev\n")
      $0.remove("/usr/bin/udevadm")
      withoutService($0)
    },
    .init("the rule came later", broken: ["udev.rule-not-applied"], asNobody: true) {
      try closed($0)
      withoutService($0)
    },
    .init("no udevd", broken: ["udev.not-running"], asNobody: true) {
      try closed($0)
      $0.remove("/proc/77")
      withoutService($0)
    },
    .init("udevd is hidden", broken: ["udev.rule-not-applied"], asNobody: true) {
      try closed($0)
      $0.remove("/proc/77")
      try $0.file("/run/udev/control", "")
      withoutService($0)
    },
    .init(
      "the rule is hidden by one of /etc", broken: ["udev.no-rule"],
      warnings: ["udev.hidden-rule"], asNobody: true
    ) {
      try closed($0)
      try $0.file("/etc/udev/rules.d/60-dma-heap.rules", "# off\n")
      try $0.file("/usr/lib/udev/rules.d/60-dma-heap.rules", distributionRule)
      withoutService($0)
    },
    .init("the rule is hidden by one that does as much", warnings: ["udev.hidden-rule"]) {
      try $0.file("/usr/lib/udev/rules.d/60-dma-heap.rules", distributionRule)
    },
    .init("the rule is switched off", warnings: ["udev.hidden-rule"]) {
      try $0.file("/etc/udev/rules.d/50-heaps.rules", distributionRule)
      try $0.link("/etc/udev/rules.d/99-board.rules", to: "/dev/null")
      try $0.file("/usr/lib/udev/rules.d/99-board.rules", distributionRule)
    },
    .init("a copy, and a file that has nothing to do with heaps, hide nothing") {
      let folder = "/usr/lib/udev/rules.d"
      try $0.file("\(folder)/60-dma-heap.rules", MachineTree.rule)
      try $0.file("\(folder)/70-other.rules", "KERNEL==\"null\", MODE=\"0666\"\n")
      try $0.file("/etc/udev/rules.d/70-other.rules", "")
    },
    .init("a mode that shuts the group out", broken: ["heap.wrong-mode"], asNobody: true) {
      $0.remove("/etc/udev")
      for name in ["system", "default_cma_region"] { $0.mode("/dev/dma_heap/\(name)", 0o600) }
      withoutService($0)
    },
    .init("a closed directory", broken: ["heap.directory-closed"], asNobody: true) {
      $0.mode("/dev/dma_heap", 0o700)
      withoutService($0)
    },
    // Who knows a heap's name may use it there; nobody else finds one.
    .init(
      "a directory that may be searched alone", broken: ["heap.directory-closed"], asNobody: true
    ) {
      for name in ["system", "default_cma_region"] { $0.mode("/dev/dma_heap/\(name)", 0o666) }
      $0.mode("/dev/dma_heap", 0o711)
      withoutService($0)
    },
    .init("a link for another board", warnings: ["heap.dangling-link"]) {
      try $0.link("/dev/dma_heap/linux,cma", to: "gone")
    },
    .init(
      "a link for another board, and no contiguous heap", broken: ["contiguous.no-heap"],
      warnings: ["heap.dangling-link"]
    ) {
      withoutHeap("default_cma_region", $0)
      try $0.link("/dev/dma_heap/linux,cma", to: "default_cma_region")
    },
    .init("a link in a heap's place", broken: ["heap.dangling-link"]) {
      $0.remove("/dev/dma_heap/system")
      try $0.link("/dev/dma_heap/system", to: "gone")
    },
    .init("a container whose image has a rule", broken: ["heap.not-in-group"], asNobody: true) {
      try $0.file("/.dockerenv", "")
      for (name, minor) in [("system", 3), ("default_cma_region", 5)] as [(String, UInt)] {
        try $0.node("/dev/dma_heap/\(name)", minor: minor, mode: 0o660, group: 3999)
      }
      withoutService($0)
    },
    .init("a link that is another heap", broken: ["heap.wrong-device"]) {
      try $0.link("/dev/dma_heap/reserved", to: "system")
    },
    .init("a second node that is another heap", broken: ["heap.wrong-device"]) {
      try $0.node("/dev/dma_heap/linux,cma", minor: 3, mode: 0o660, group: MachineTree.video)
    },
    .init("ids that are not mapped", broken: ["heap.user-namespace"], asNobody: true) {
      try unmapped($0)
      withoutService($0)
    },
    .init("a directory that others may write to", warnings: ["heap.directory-writable"]) {
      $0.mode("/dev/dma_heap", 0o777)
    },
    .init("a directory that a user owns", warnings: ["heap.directory-writable"]) {
      $0.owner("/dev/dma_heap", 3999)
    },
    .init("open to all", warnings: ["heap.open-to-all"]) {
      $0.remove("/etc/udev")
      $0.mode("/dev/dma_heap/system", 0o666)
    },
    .init("only the legacy name", warnings: ["heap.legacy-name"]) {
      withoutHeap("default_cma_region", $0)
      try $0.heap("linux,cma", minor: 5)
    },
    .init("ion", warnings: ["heap.ion"]) { try $0.file("/dev/ion", "") },
    .init("a node that is not as the rule says", warnings: ["udev.rule-not-applied"]) {
      $0.mode("/dev/dma_heap/system", 0o640)
    },
  ]

  private static let regions: [BrokenMachine] = [
    .init("booted with cma=0", broken: ["contiguous.no-region"]) {
      try $0.file("/proc/cmdline", "quiet cma=0\n")
      try withoutRegion($0)
    },
    .init("no heap for contiguous memory built", warnings: ["contiguous.not-built"]) {
      try $0.configure("CONFIG_DMABUF_HEAPS=y\nCONFIG_DMABUF_HEAPS_SYSTEM=y\nCONFIG_UDMABUF=y")
      try withoutRegion($0)
    },
    .init("the contiguous heap is a module", broken: ["contiguous.module-not-loaded"]) {
      try $0.configure(
        "CONFIG_DMABUF_HEAPS=y\nCONFIG_DMABUF_HEAPS_SYSTEM=y\nCONFIG_DMABUF_HEAPS_CMA=m")
      withoutHeap("default_cma_region", $0)
    },
    .init("a kernel without CMA, that shows no options", warnings: ["contiguous.not-built"]) {
      $0.remove("/boot")
      try withoutRegion($0)
      try $0.file("/proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 917504 kB\n")
    },
    .init("a region of the kernel's that no heap serves", broken: ["contiguous.no-heap"]) {
      withoutHeap("default_cma_region", $0)
    },
    .init("a heap of unknown role", warnings: ["contiguous.unknown-role"]) {
      withoutHeap("default_cma_region", $0)
      try $0.heap("carveout-vision", minor: 5)
    },
    .init("a heap that its name's words call contiguous, and no region") {
      try withoutRegion($0)
      try $0.heap("memory@42000000-contiguous", minor: 5)
    },
    .init("a heap of unknown role, and no region", warnings: ["contiguous.unknown-role"]) {
      try withoutRegion($0)
      try $0.heap("carveout-vision", minor: 5)
    },
    .init("a full region", broken: ["contiguous.full"]) {
      try $0.file("/sys/kernel/mm/cma/reserved/available_pages", "0\n")
    },
    .init("a region with little left", warnings: ["contiguous.low"]) {
      try $0.file("/sys/kernel/mm/cma/reserved/available_pages", "17\n")
    },
    .init("a small region", warnings: ["contiguous.small"]) {
      try $0.file("/sys/kernel/mm/cma/reserved/total_pages", "100\n")
      try $0.file("/sys/kernel/mm/cma/reserved/available_pages", "100\n")
    },
    .init("a region in pieces", warnings: ["contiguous.fragmented"]) {
      try $0.file("/sys/kernel/debug/cma/reserved/maxchunk", "16\n")
    },
  ]

  private static let surroundings: [BrokenMachine] = [
    .init("a limit of the control group above", warnings: ["cgroup.memory-limit"]) {
      try $0.file("/sys/fs/cgroup/user.slice/memory.max", "268435456\n")
      try $0.file("/sys/fs/cgroup/user.slice/memory.current", "1048576\n")
    },
    .init("a limit that is reached, and heaps are charged", broken: ["cgroup.memory-limit"]) {
      try $0.file("/sys/module/dma_heap/parameters/mem_accounting", "Y\n")
      try $0.file("/sys/fs/cgroup/user.slice/memory.max", "268435456\n")
      try $0.file("/sys/fs/cgroup/user.slice/memory.current", "268000000\n")
    },
    .init("a limit of version 1", warnings: ["cgroup.memory-limit"]) {
      try $0.file("/proc/self/cgroup", "4:memory:/docker/abc\n0::/\n")
      try $0.file(
        "/proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n")
      try $0.file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n")
      try $0.file("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1048576\n")
    },
    .init("a limit on device memory", warnings: ["cgroup.device-memory-limit"]) {
      try $0.file("/sys/fs/cgroup/user.slice/dmem.max", "drm/card0/vram 4096\ncma/reserved max\n")
    },
    .init("no memory left", broken: ["memory.exhausted"]) {
      try $0.file("/proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 40000 kB\n")
    },
    .init("a proc of processes alone", warnings: ["memory.unknown"]) {
      $0.remove("/proc/meminfo")
      try $0.file("/proc/self/stat", "")
    },
    .init("few descriptors", broken: ["limits.descriptors"]) {
      try $0.file("/proc/self/limits", "Max open files            16     1048576     files\n")
    },
    .init("no device that imports", warnings: ["import.no-device"]) { $0.remove("/dev/dri") },
    .init("devices of the host's, without nodes", warnings: ["import.node-missing"]) {
      $0.remove("/dev/dri")
      for name in ["card0", "renderD128"] { try $0.file("/sys/class/drm/\(name)/dev", "226:0\n") }
      try $0.file("/sys/class/drm/card0-Virtual-1/status", "connected\n")
      try $0.file("/.dockerenv", "")
    },
    .init("a device that opens for nobody", warnings: ["import.open-failed"]) {
      try $0.link("/dev/video0", to: "video9")
    },
    .init("a socket that nobody serves", warnings: ["service.dead"]) {
      try $0.file("/proc/net/unix", "Num RefCount Protocol Flags Type St Inode Path\n")
    },
  ]

  // MARK: Parts

  private static let distributionRule =
    "SUBSYSTEM==\"dma_heap\", GROUP=\"video\", SYMLINK+=\"dma_heap/vidbuf_cached\"\n"

  private static func withoutHeap(_ name: String, _ tree: MachineTree) {
    tree.remove("/dev/dma_heap/\(name)")
    tree.remove("/sys/class/dma_heap/\(name)")
  }

  private static func withoutHeaps(_ tree: MachineTree) {
    tree.remove("/dev/dma_heap")
    tree.remove("/sys/class/dma_heap")
  }

  private static func withoutRegion(_ tree: MachineTree) throws {
    withoutHeap("default_cma_region", tree)
    tree.remove("/sys/kernel/mm/cma/reserved")
    try tree.file(
      "/proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 917504 kB\nCmaTotal: 0 kB\n")
  }

  /// As the kernel makes nodes.
  private static func closed(_ tree: MachineTree) throws {
    try tree.node("/dev/dma_heap/system", minor: 3, mode: 0o600)
    try tree.node("/dev/dma_heap/default_cma_region", minor: 5, mode: 0o600)
  }

  /// As for a process of a user namespace that maps its own user alone; the overflow ids are others here, since the process is nobody.
  static func unmapped(_ tree: MachineTree) throws {
    for map in ["uid_map", "gid_map"] { try tree.file("/proc/self/\(map)", "0 1000 1\n") }
    for id in ["overflowuid", "overflowgid"] { try tree.file("/proc/sys/kernel/\(id)", "65533\n") }
    for (name, minor) in [("system", 3), ("default_cma_region", 5)] as [(String, UInt)] {
      try tree.node("/dev/dma_heap/\(name)", minor: minor, mode: 0o660, group: 65533)
    }
  }

  static func withoutService(_ tree: MachineTree) { tree.remove("/run/heapd") }
}
