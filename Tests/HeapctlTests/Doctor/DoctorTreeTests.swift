import Foundation
import Glibc
import LinuxHeaps
import TestSupport
import Testing

@Suite(.enabled(if: MachineTree.isPossible, "needs root, to make device nodes"))
struct DoctorTreeTests {
  @Test func `a machine on which all is well has a line for each area`() throws {
    let tree = try MachineTree()
    let run = try Run.heapctl("doctor", "--root", tree.root)
    #expect(
      run.output == """
        heapctl doctor on Linux 7.3.4, as nobody

        ok       kernel      Linux 7.3.4 was built with heaps: system, contiguous (/boot/config-7.3.4)
        ok       heaps       nobody may use system, default_cma_region
        ok       contiguous  default_cma_region: 64 MiB, of which 48 MiB are free
        ok       udev        the nodes are as /etc/udev/rules.d/60-dma-heap.rules says
        ok       memory      832 MiB of 1 GiB are available outside contiguous regions
        ok       limits      1024 descriptors
        ok       udmabuf     /dev/udmabuf may be opened; a buffer has at most 64 MiB
        ok       importers   1 DRM device and 0 of V4L2, each of which may be opened
        ok       service     heapd listens at /run/heapd/heap.sock

        0 broken, 0 warnings, 1 note (--verbose shows all)

        """)
    #expect(run.error == "")
    #expect(run.status == 0)
  }

  @Test(arguments: BrokenMachine.all)
  func `the one cause is named`(_ machine: BrokenMachine) throws {
    let tree = try MachineTree()
    try machine.spoil(tree)
    // The device is nobody's affair here.
    if machine.asNobody { tree.mode("/dev/dri/card0", 0o666) }
    let run = try tree.run(asNobody: machine.asNobody)
    #expect(run.ids("broken") == machine.broken)
    #expect(run.ids("warning") == machine.warnings)
    #expect(run.status == (machine.broken.isEmpty ? 0 : 1))
    for finding in run.report.findings where ["warning", "broken"].contains(finding.severity) {
      #expect(finding.fix?.isEmpty == false, "\(finding.id) has no fix")
    }
  }

  @Test func `a cause comes with what was seen, why it matters, and a command`() throws {
    let tree = try MachineTree()
    try tree.user(groups: [])
    tree.remove("/run/heapd")
    tree.mode("/dev/dri/card0", 0o666)
    let run = try Run.heapctl(
      "doctor", "--root", tree.root, through: Prefix.namespace("", as: Prefix.nobody))
    let lines = run.output.components(separatedBy: "\n")
    let first = try #require(lines.firstIndex { $0.hasPrefix("BROKEN") })
    #expect(
      lines[first..<(first + 4)].joined(separator: "\n") == """
        BROKEN   heaps       each of /dev/dma_heap/system, /dev/dma_heap/default_cma_region is root:video 0660, and nobody is not in the group video
                             why: to open a heap for reading is all that allocation takes, and the group has that right
                             fix: sudo usermod -aG video nobody  # then log in again
                             id:  heap.not-in-group
        """)
    #expect(run.status == 1)
  }

  @Test(
    arguments: [
      // A group that no database has a name for, on a machine and in a container.
      (
        ["/etc/hostname"], "heap.not-in-group",
        "sudo groupadd -g 3999 heap3999 && sudo usermod -aG heap3999 nobody  # then log in again"
      ),
      (
        ["/.dockerenv"], "heap.not-in-group",
        "docker run --group-add 3999 …  # the group's number; podman: the same"
      ),
    ])
  func `a group that is only a number is joined by what works there`(
    _ files: [String], _ id: String, _ fix: String
  ) throws {
    let tree = try MachineTree()
    for file in files { try tree.file(file, "") }
    tree.remove("/etc/udev")
    for (name, minor) in [("system", 3), ("default_cma_region", 5)] as [(String, UInt)] {
      try tree.node("/dev/dma_heap/\(name)", minor: minor, mode: 0o660, group: 3999)
    }
    BrokenMachine.withoutService(tree)
    #expect(try tree.run(asNobody: true).finding(id)?.fix == fix)
  }

  @Test func `a board whose groups are BusyBox's is told its words`() throws {
    let tree = try MachineTree()
    BrokenMachine.withoutService(tree)
    try tree.file("/usr/sbin/addgroup", "")
    try tree.user(groups: [])
    func fix(_ id: String) throws -> String? { try tree.run(asNobody: true).finding(id)?.fix }
    func nodes(_ mode: mode_t, _ group: gid_t) throws {
      for (name, minor) in [("system", 3), ("default_cma_region", 5)] as [(String, UInt)] {
        try tree.node("/dev/dma_heap/\(name)", minor: minor, mode: mode, group: group)
      }
    }
    #expect(try fix("heap.not-in-group") == "sudo addgroup nobody video  # then log in again")
    tree.remove("/etc/udev")
    try nodes(0o660, 3999)
    #expect(
      try fix("heap.not-in-group")
        == "sudo addgroup -g 3999 heap3999 && sudo addgroup nobody heap3999  # then log in again")
    try nodes(0o600, 0)
    let rule = try #require(try fix("udev.no-rule"))
    #expect(
      rule.hasPrefix("{ grep -q '^dmaheap:' /etc/group || sudo addgroup -S dmaheap; } && echo '"))
    #expect(rule.hasSuffix(" && sudo addgroup nobody dmaheap  # then log in again"))
    // Debian has both.
    try tree.file("/usr/sbin/usermod", "")
    #expect(try fix("udev.no-rule")?.hasPrefix("sudo groupadd -rf dmaheap && echo '") == true)
  }

  /// As winbind names a domain's.
  @Test func `a user's name is one word of the fix`() throws {
    let tree = try MachineTree()
    BrokenMachine.withoutService(tree)
    try tree.user(3998, groups: [])
    let names = """
      names=$(mktemp)
      cp /etc/passwd "$names"
      echo 'CORP\\alice:x:3998:3998::/:/bin/sh' >> "$names"
      chmod 644 "$names"
      mount --bind "$names" /etc/passwd
      rm "$names"
      """
    let user = "setpriv --reuid=3998 --regid=3998 --clear-groups"
    let run = try DoctorRun("--root", tree.root, through: Prefix.namespace(names, as: user))
    #expect(
      run.finding("heap.not-in-group")?.fix
        == "sudo usermod -aG video 'CORP\\alice'  # then log in again")
  }

  @Test(arguments: [
    ("/etc/hostname", "podman run --group-add keep-groups …  # "),
    ("/run/.containerenv", "podman run --group-add keep-groups …  # "),
    ("/.dockerenv", "docker run --userns=host …  # "),
  ])
  func `who is refused for a user namespace is sent out of it`(
    _ file: String, _ fix: String
  ) throws {
    let tree = try MachineTree()
    try tree.file(file, "")
    try BrokenMachine.unmapped(tree)
    BrokenMachine.withoutService(tree)
    let found = try #require(try tree.run(asNobody: true).finding("heap.user-namespace"))
    #expect(found.seen.hasSuffix("its group is not mapped in this user namespace"))
    #expect(found.fix?.hasPrefix(fix) == true)
    #expect(found.fix?.hasSuffix(", or ask heapd: --socket") == true)
  }

  private static let load =
    "sudo modprobe system_heap && sudo mkdir -p /etc/modules-load.d && echo system_heap | sudo tee /etc/modules-load.d/system_heap.conf"

  @Test(arguments: [
    (["/lib/modules/7.3.4/modules.dep"], load),
    (
      ["/lib/modules/7.3.4/modules.dep", "/etc/modules-load.d/other.conf"],
      "sudo modprobe system_heap && echo system_heap | sudo tee /etc/modules-load.d/system_heap.conf"
    ),
    (
      [],
      "install the module system_heap for this kernel, or use a kernel that has CONFIG_DMABUF_HEAPS_SYSTEM"
    ),
    (["/.dockerenv"], "\(load)  # on the host"),
  ])
  func `a module is loaded where it is installed`(_ files: [String], _ fix: String) throws {
    let tree = try MachineTree()
    try tree.configure("CONFIG_DMABUF_HEAPS=y\nCONFIG_DMABUF_HEAPS_SYSTEM=m")
    tree.remove("/dev/dma_heap")
    tree.remove("/sys/class/dma_heap")
    for file in files { try tree.file(file, "kernel/drivers/dma-buf/heaps/system_heap.ko:\n") }
    #expect(try tree.run().finding("kernel.module-not-loaded")?.fix == fix)
  }

  @Test func `a container's kernel is its host's, whatever its image has`() throws {
    let tree = try MachineTree()
    try tree.file("/etc/default/grub", "GRUB_CMDLINE_LINUX=\"quiet\"\n")
    func fix() throws -> String? { try tree.run().finding("memory.uncharged")?.fix }
    #expect(try fix()?.hasPrefix("sudo sed ") == true)
    try tree.file("/.dockerenv", "")
    #expect(
      try fix()
        == "cat /proc/cmdline  # on the host: in your boot loader's settings add dma_heap.mem_accounting=1 to it, then reboot"
    )
  }

  @Test func `nodes that a rule opens to all are closed by a rule`() throws {
    let tree = try MachineTree()
    tree.mode("/dev/dma_heap/system", 0o666)
    func fix() throws -> String? { try tree.run().finding("heap.open-to-all")?.fix }
    #expect(try fix() == "sudo chmod o-rwx /dev/dma_heap/system")
    try tree.file(
      "/etc/udev/rules.d/60-dma-heap.rules",
      "SUBSYSTEM==\"dma_heap\", GROUP=\"video\", MODE=\"0666\"\n")
    tree.mode("/dev/dma_heap/default_cma_region", 0o666)
    #expect(
      try fix()?.hasPrefix(
        "echo 'SUBSYSTEM==\"dma_heap\", KERNEL==\"system|default_cma_region\", MODE=\"0660\"' | sudo tee -a "
      ) == true)
  }

  @Test func `what is charged is not said to be charged to nobody`() throws {
    let tree = try MachineTree()
    try tree.file("/sys/module/dma_heap/parameters/mem_accounting", "Y\n")
    tree.mode("/dev/dma_heap/system", 0o666)
    func why() throws -> String { try #require(tree.run().finding("heap.open-to-all")?.why) }
    #expect(try why().hasPrefix("its memory is charged to the user's control group"))
    tree.mode("/dev/dma_heap/default_cma_region", 0o666)
    #expect(
      try why().hasPrefix("memory of default_cma_region is charged to no control group, so any"))
    try tree.file("/sys/module/dma_heap/parameters/mem_accounting", "N\n")
    #expect(try why().hasPrefix("heap memory is charged to no control group, so any"))
  }

  @Test func `udevd is told of where it runs`() throws {
    let tree = try MachineTree()
    tree.remove("/etc/udev")
    func note() throws -> DoctorRun.Report.Finding { try #require(tree.run().finding("udev.none")) }
    #expect(try note().fix?.contains("udevadm") == true)
    try tree.file("/proc/77/comm", "mdev\n")
    #expect(try note().fix == nil)
    #expect(try note().seen.hasSuffix("no udevd runs here"))
  }

  @Test func `a private dev has no node made in it`() throws {
    let tree = try MachineTree()
    tree.remove("/dev/dma_heap")
    try tree.file("/proc/self/mountinfo", "9 1 0:9 / /dev rw,nosuid - tmpfs tmpfs rw\n")
    let found = try #require(try tree.run().finding("heap.node-missing"))
    #expect(found.fix?.hasPrefix("docker run --device /dev/dma_heap …") == true)
  }

  @Test func `a proc without the machine's files is mended where it was mounted`() throws {
    let tree = try MachineTree()
    tree.remove("/proc/meminfo")
    func fix() throws -> String? { try tree.run().finding("memory.unknown")?.fix }
    #expect(try fix() == "sudo mount -t proc proc /proc")
    try tree.file("/proc/self/stat", "")
    #expect(try fix()?.contains("[Service] ProcSubset=all; elsewhere: mount -t proc") == true)
  }

  @Test func `a container's limits are raised by whoever started it`() throws {
    let tree = try MachineTree()
    let group = "/sys/fs/cgroup/user.slice"
    try tree.file("\(group)/memory.max", "268435456\n")
    try tree.file("\(group)/memory.current", "1048576\n")
    try tree.file("\(group)/dmem.max", "drm/card0/vram 4096\n")
    func fixes() throws -> [String?] {
      let run = try tree.run()
      return ["memory-limit", "device-memory-limit"].map { run.finding("cgroup.\($0)")?.fix }
    }
    for fix in try fixes() { #expect(fix?.contains("| sudo tee /sys/fs/cgroup/") == true) }
    try tree.file("/.dockerenv", "")
    let inside = try fixes()
    #expect(inside[0]?.hasPrefix("docker update --memory SIZE") == true)
    #expect(inside[1]?.contains("# on the host") == true)
  }

  @Test func `a kernel's compressed options are read`() throws {
    let tree = try MachineTree()
    let gzip = Process()
    gzip.executableURL = URL(fileURLWithPath: "/bin/gzip")
    gzip.arguments = [tree.root + "/boot/config-7.3.4"]
    try gzip.run()
    gzip.waitUntilExit()
    try FileManager.default.moveItem(
      atPath: tree.root + "/boot/config-7.3.4.gz", toPath: tree.root + "/proc/config.gz")
    let run = try tree.run()
    #expect(
      run.finding("kernel.heaps")?.seen
        == "Linux 7.3.4 was built with heaps: system, contiguous (/proc/config.gz)")
  }

  @Test func `a rule reached by GOTO counts, one for another subsystem does not`() throws {
    let tree = try MachineTree()
    try tree.file(
      "/etc/udev/rules.d/60-dma-heap.rules",
      """
      SUBSYSTEM!="dma_heap", GOTO="end"
      KERNEL=="sys*", GROUP="video"
      KERNEL=="default_cma_region|reserved", GROUP="video", MODE="0660"
      LABEL="end"
      SUBSYSTEM=="drm", GROUP="render", MODE="0666"

      """)
    let run = try tree.run()
    #expect(run.finding("udev.rule")?.severity == "ok")
    #expect(run.ids("warning") == [])
  }

  @Test func `a rule for some heaps leaves the others to be named`() throws {
    let tree = try MachineTree()
    try tree.file(
      "/etc/udev/rules.d/60-dma-heap.rules",
      "SUBSYSTEM==\"dma_heap\", KERNEL==\"system\", GROUP=\"video\", MODE=\"0660\"\n")
    let partial = try #require(try tree.run().finding("udev.partial"))
    #expect(partial.severity == "note")
    #expect(partial.seen.hasSuffix("does not speak of /dev/dma_heap/default_cma_region"))
    let fix = try #require(partial.fix)
    #expect(fix.contains("SUBSYSTEM==\"dma_heap\", KERNEL==\"default_cma_region\", GROUP"))
    #expect(fix.contains("GROUP=\"video\""))
    #expect(fix.contains("tee -a /etc/udev/rules.d/00-linux-heaps-local.rules"))
    #expect(try MachineTree().run().finding("udev.partial") == nil)
  }

  // raspberrypi-sys-mods: quotes within quotes, and a match by a program.
  @Test func `a rule that a program decides counts for nothing`() throws {
    let tree = try MachineTree()
    try tree.file(
      "/usr/lib/udev/rules.d/99-board.rules",
      #"SUBSYSTEM=="dma_heap", PROGRAM="/bin/grep -q \"^Revision, GROUP=x\" /proc/cpuinfo", GROUP="kvm""#
    )
    let run = try tree.run()
    #expect(run.finding("udev.rule")?.severity == "ok")
    #expect(run.ids("warning") == [])
  }

  @Test func `what one rule settles, no later one changes`() throws {
    let tree = try MachineTree()
    try tree.file(
      "/etc/udev/rules.d/50-board.rules",
      "SUBSYSTEM==\"dma_heap\", GROUP:=\"kvm\"\nSUBSYSTEM==\"dma_heap\", GROUP=\"video\"\n")
    #expect(
      try tree.run().finding("udev.rule-not-applied")?.seen.hasSuffix("says root:kvm 0660") == true)
  }

  @Test(arguments: [false, true])
  func `an owner that a rule gives the nodes is looked at`(_ asNobody: Bool) throws {
    let tree = try MachineTree()
    BrokenMachine.withoutService(tree)
    let rule = "/etc/udev/rules.d/60-dma-heap.rules"
    try tree.file(rule, "SUBSYSTEM==\"dma_heap\", OWNER=\"nobody\", MODE=\"0600\"\n")
    for (name, minor) in [("system", 3), ("default_cma_region", 5)] as [(String, UInt)] {
      try tree.node("/dev/dma_heap/\(name)", minor: minor, mode: 0o600)
    }
    let found = try #require(try tree.run(asNobody: asNobody).finding("udev.rule-not-applied"))
    #expect(found.seen.hasSuffix("is root:root 0600, and \(rule) says nobody:root 0600"))
    #expect(found.fix?.hasPrefix("sudo udevadm control --reload && sudo udevadm trigger ") == true)
  }

  @Test(arguments: ["nosuchuser", "daemon"])
  func `an owner who is nobody, or another, does not keep a user out`(_ owner: String) throws {
    let tree = try MachineTree()
    try tree.user(groups: [])
    BrokenMachine.withoutService(tree)
    try tree.file(
      "/etc/udev/rules.d/60-dma-heap.rules",
      "SUBSYSTEM==\"dma_heap\", OWNER=\"\(owner)\", GROUP=\"video\", MODE=\"0660\"\n")
    let run = try tree.run(asNobody: true)
    #expect(run.ids("broken") == ["heap.not-in-group"])
    #expect(try tree.run().ids("warning") == (owner == "daemon" ? ["udev.rule-not-applied"] : []))
  }

  @Test func `the fix of a rule that is hidden takes a name that hides nothing`() throws {
    let tree = try MachineTree()
    let folder = "/usr/lib/udev/rules.d"
    try tree.file("\(folder)/60-dma-heap.rules", "SUBSYSTEM==\"dma_heap\", GROUP=\"kvm\"\n")
    func fix() throws -> String { try #require(tree.run().finding("udev.hidden-rule")?.fix) }
    let move = "sudo mv /etc/udev/rules.d/60-dma-heap.rules /etc/udev/rules.d/60-dma-heap"
    #expect(try fix().hasPrefix("\(move)-local.rules && sudo udevadm"))
    try tree.file("\(folder)/60-dma-heap-local.rules", "")
    #expect(try fix().hasPrefix("\(move)-local-local.rules && sudo udevadm"))
  }

  @Test(arguments: [(8, 64), (64, 128), (256, 512), (320, 512), (500, 512), (512, nil), (700, nil)])
  func `a full region is to be larger than it is, and half of the memory at most`(
    _ present: UInt64, _ told: Int?
  ) throws {
    let tree = try MachineTree()
    try tree.file("/sys/kernel/mm/cma/reserved/total_pages", "\(present * 256)\n")
    try tree.file("/sys/kernel/mm/cma/reserved/available_pages", "0\n")
    let fix = try #require(try tree.run().finding("contiguous.full")?.fix)
    #expect(fix.contains("cma=") == (told != nil))
    if let told { #expect(fix.contains("cma=\(told)M")) }
  }

  @Test func `a region of the device tree is changed there`() throws {
    let tree = try Self.deviceTree()
    try tree.file("\(Self.treeNode)/reusable", "")
    let fix = try #require(tree.run().finding("contiguous.full")?.fix)
    #expect(
      fix == """
        ls \(Self.treeNode)  # the device tree sets its size, and cma= does not change it: \
        make it 128 MiB there, then reboot
        """)
  }

  private static let treeNode = "/proc/device-tree/reserved-memory/linux,cma"

  /// A machine whose region is of the device tree, and full.
  private static func deviceTree() throws -> MachineTree {
    let tree = try MachineTree()
    let region = "/sys/kernel/mm/cma/linux,cma"
    tree.remove("/sys/kernel/mm/cma/reserved")
    try tree.file("\(region)/total_pages", "\((64 << 20) / pageSize)\n")
    try tree.file("\(region)/available_pages", "0\n")
    try tree.file("/proc/cmdline", "quiet\n")
    return tree
  }

  @Test func `the device tree's default region makes way for the command line's`() throws {
    let tree = try Self.deviceTree()
    try tree.file("\(Self.treeNode)/linux,cma-default", "")
    func fix() throws -> String { try #require(tree.run().finding("contiguous.full")?.fix) }
    let told =
      "cat /proc/cmdline  # in your boot loader's settings add cma=128M to it, then reboot"
    #expect(try fix() == told)
    // A kernel on which it does not.
    try tree.file("/proc/cmdline", "quiet cma=64M\n")
    #expect(try fix().hasPrefix("ls \(Self.treeNode)  # "))
    try tree.file("/proc/cmdline", "quiet\n")
    try tree.file("/boot/cmdline.txt", "quiet\n")
    #expect(try BootParameterTests.carryOut(fix(), in: tree) == "")
    #expect(
      try String(contentsOfFile: tree.root + "/boot/cmdline.txt", encoding: .utf8)
        == "quiet cma=128M\n")
    // Its heap has another name then.
    tree.remove("/boot/cmdline.txt")
    try tree.file("/proc/sys/kernel/osrelease", "6.12.0\n")
    for folder in ["/dev/dma_heap", "/sys/class/dma_heap"] {
      tree.remove("\(folder)/default_cma_region")
    }
    try tree.heap("linux,cma", minor: 5)
    #expect(try fix() == "\(told); the heap will then be called reserved")
  }

  @Test(arguments: ["/boot/firmware/config.txt", "/boot/config.txt"])
  func `a Raspberry Pi's region is changed by its overlay`(_ path: String) throws {
    let tree = try Self.deviceTree()
    try tree.file("\(Self.treeNode)/linux,cma-default", "")
    for line in ["dtoverlay=vc4-kms-v3d", "dtoverlay=vc4-kms-v3d,cma-64,nohdmi "] {
      try tree.file(path, "arm_64bit=1\n\(line)\n[all]\n")
      let fix = try #require(tree.run().finding("contiguous.full")?.fix)
      #expect(try BootParameterTests.carryOut(fix, in: tree) == "")
      let kept = line.replacing(",cma-64", with: "").trimmingCharacters(in: .whitespaces)
      #expect(
        try String(contentsOfFile: tree.root + path, encoding: .utf8)
          == "arm_64bit=1\n\(kept),cma-128\n[all]\n")
    }
  }

  @Test func `before Linux 7.0 the size of all regions is no region's, unless there is one`() throws
  {
    let tree = try MachineTree()
    let regions = "/sys/kernel/mm/cma"
    func seen() throws -> String? { try tree.run().finding("contiguous.region")?.seen }
    tree.remove("\(regions)/reserved")
    try tree.file("\(regions)/reserved/alloc_pages_success", "7\n")
    #expect(try seen() == "default_cma_region: 64 MiB")
    try tree.file("\(regions)/vpu/alloc_pages_success", "7\n")
    #expect(try seen() == "default_cma_region: at most 64 MiB (all regions together)")
    // What is free is not known.
    let debug = "/sys/kernel/debug/cma/reserved"
    try tree.file("\(debug)/maxchunk", "\((6 << 20) / pageSize)\n")
    let run = try tree.run()
    #expect(run.ids("warning") == [])
    #expect(
      run.finding("contiguous.largest")?.seen == """
        default_cma_region: the largest buffer to be had is 6 MiB (/sys/kernel/debug/cma); \
        at least 0 pictures of 1920×1080 XR24 fit
        """)
    // CONFIG_CMA_DEBUGFS tells it, to root.
    try tree.file("\(debug)/count", "\((8 << 20) / pageSize)\n")
    try tree.file("\(debug)/used", "\((2 << 20) / pageSize)\n")
    #expect(try seen() == "default_cma_region: 8 MiB, of which 6 MiB are free")
    #expect(try tree.run().ids("warning") == ["contiguous.small"])
    try tree.file("\(debug)/maxchunk", "\((1 << 20) / pageSize)\n")
    #expect(try tree.run().ids("warning") == ["contiguous.small", "contiguous.fragmented"])
  }

  @Test func `where nothing is reserved it is told whether any was asked for`() throws {
    let tree = try MachineTree()
    for path in [
      "/dev/dma_heap/default_cma_region", "/sys/class/dma_heap/default_cma_region",
      "/sys/kernel/mm/cma",
    ] {
      tree.remove(path)
    }
    try tree.file(
      "/proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 917504 kB\nCmaTotal: 0 kB\n")
    func expect(_ words: String, _ cause: String, _ fix: String) throws {
      try tree.file("/proc/cmdline", "quiet \(words)\n")
      let found = try #require(try tree.run().finding("contiguous.no-region"))
      #expect(found.seen == "no memory is set aside for contiguous buffers\(cause)")
      #expect(found.fix?.components(separatedBy: "  # ").first == fix)
    }
    let (edit, look) = ("cat /proc/cmdline", "sudo dmesg | grep -i cma")
    for word in ["cma=0", "cma=0M", "cma=0@0-4G", "cma=0x0"] {
      try expect(word, ": the kernel was booted with \(word)", edit)
    }
    for word in ["cma=64M", "cma=0xA000000", "cma=4G@0"] {
      try expect(word, ", although the kernel was booted with \(word)", look)
    }
    try expect("", ", although CONFIG_CMA_SIZE_MBYTES is 64", look)
    try tree.configure(
      "CONFIG_DMABUF_HEAPS=y\nCONFIG_DMABUF_HEAPS_CMA=y\nCONFIG_CMA_SIZE_MBYTES=0")
    let none = "no cma= is on the kernel's command line"
    try expect("", ": CONFIG_CMA_SIZE_MBYTES is 0, and \(none)", edit)
    tree.remove("/boot")
    try expect("", ": \(none)", edit)
    try expect("cma=64M", ", although the kernel was booted with cma=64M", look)
  }

  @Test func `a kernel that has the contiguous heap is not built anew for it`() throws {
    let tree = try MachineTree()
    for path in [
      "/dev/dma_heap/default_cma_region", "/sys/class/dma_heap/default_cma_region",
      "/sys/kernel/mm/cma",
    ] {
      tree.remove(path)
    }
    func found(_ words: String) throws -> DoctorRun.Report.Finding {
      try tree.file("/proc/cmdline", "quiet \(words)\n")
      return try #require(try tree.run().finding("contiguous.no-heap"))
    }
    let options = "CONFIG_DMABUF_HEAPS=y\nCONFIG_DMABUF_HEAPS_CMA=y\nCONFIG_CMA_SIZE_MBYTES=0\n"
    let boot = "cat /proc/cmdline  # in your boot loader's settings "
    try tree.configure(options)
    let huge = try found("hugetlb_cma=1G")
    #expect(huge.seen.hasSuffix("no heap serves from them; hugetlb_cma=1G is for huge pages"))
    #expect(huge.fix == "\(boot)add cma=64M to it, then reboot")
    // What is set aside is a region of the device tree's that is not the default one.
    try tree.file("/proc/sys/kernel/osrelease", "6.12.0\n")
    try tree.file("/boot/config-6.12.0", options)
    let other = try found("cma=0")
    #expect(other.why.hasSuffix("; this kernel serves only from its default region"))
    #expect(other.fix == "\(boot)put cma=64M in place of cma=0, then reboot")
    #expect(try found("cma=64M").fix?.hasPrefix("sudo dmesg | grep -i cma") == true)
  }

  @Test func `what is told of all regions together is told once`() throws {
    let tree = try MachineTree()
    try tree.heap("display-pool", minor: 7)
    try tree.file("/sys/kernel/mm/cma/display-pool/total_pages", "16384\n")
    try tree.file("/sys/kernel/mm/cma/display-pool/available_pages", "16384\n")
    try tree.file(
      "/proc/pagetypeinfo", "Node    0, zone      DMA, type          CMA      0      3 \n")
    let notes = try tree.run().ids("note")
    #expect(notes.filter { $0 == "contiguous.free-blocks" }.count == 1)
  }

  private static let dtc = "/usr/bin/dtc"

  @Test(
    .enabled(if: unsafe access(dtc, X_OK) == 0, "needs dtc"),
    arguments: [(1, "size = <0x8000000>;"), (2, "size = <0x00 0x8000000>;")])
  func `a region's size is changed by an overlay, which compiles`(
    _ cells: UInt8, _ size: String
  ) throws {
    let tree = try MachineTree()
    let nodes = "/proc/device-tree/reserved-memory"
    let node = "vendor,main"
    let region = "/sys/kernel/mm/cma/\(node)"
    tree.remove("/sys/kernel/mm/cma/reserved")
    try tree.file("\(region)/total_pages", "\((64 << 20) / pageSize)\n")
    try tree.file("\(region)/available_pages", "0\n")
    try tree.file("\(nodes)/#size-cells", "\0\0\0" + String(UnicodeScalar(cells)))
    try tree.file("\(nodes)/\(node)/size", "")
    let fix = try #require(tree.run().finding("contiguous.full")?.fix)
    #expect(try BootParameterTests.carryOut("cd \(tree.root) && \(fix)", in: tree) == "")
    let text = try Run.program(Self.dtc, ["-I", "dtb", "-O", "dts", "\(tree.root)/\(node).dtbo"])
      .output
    #expect(text.contains("target-path = \"/reserved-memory/\(node)\";"), "\(text)")
    #expect(text.contains(size), "\(text)")
  }

  @Test func `a region of a vendor's kernel has no heap of unknown role beside it`() throws {
    let tree = try MachineTree()
    tree.remove("/dev/dma_heap/default_cma_region")
    tree.remove("/sys/class/dma_heap/default_cma_region")
    tree.remove("/sys/kernel/mm/cma")
    for (name, minor) in [("cma", 5), ("cma-uncached", 7), ("system-dma32", 8)] as [(String, UInt)]
    {
      try tree.heap(name, minor: minor)
    }
    let run = try tree.run()
    #expect(run.ids("warning") == [])
    #expect(
      run.report.findings.filter { $0.id == "contiguous.region" }.map(\.seen)
        == ["cma", "cma-uncached"].map { "\($0): at most 64 MiB (all regions together)" })
  }

  @Test func `a node that is made anew is for those who had it`() throws {
    let tree = try MachineTree()
    func fix(_ id: String) throws -> String { try #require(tree.run().finding(id)?.fix) }
    let made = """
      sudo mknod -m 660 /dev/dma_heap/system c 1 3 && sudo chgrp video /dev/dma_heap/system
      """
    let trigger =
      " && sudo udevadm trigger --action=add --settle --subsystem-match=dma_heap"
    // By its sibling and the rules, by its sibling alone, by itself.
    tree.remove("/dev/dma_heap/system")
    try tree.file("/run/udev/control", "")
    #expect(try fix("heap.node-missing") == made + trigger)
    tree.remove("/run/udev")
    #expect(try fix("heap.node-missing") == made)
    tree.mode("/dev/dma_heap/default_cma_region", 0o600)
    try tree.node("/dev/dma_heap/system", minor: 7, mode: 0o660, group: MachineTree.video)
    #expect(try fix("heap.wrong-device") == "sudo rm /dev/dma_heap/system && " + made)
    // Of a link it is what it leads to.
    tree.mode("/dev/dma_heap/default_cma_region", 0o660)
    tree.remove("/dev/dma_heap/system")
    try tree.link("/dev/dma_heap/system", to: "/dev/full")
    #expect(try fix("heap.wrong-device") == "sudo rm /dev/dma_heap/system && " + made)
    tree.remove("/dev/dma_heap")
    let folder = "sudo mkdir -p -m 755 /dev/dma_heap && sudo mknod -m 600 /dev/dma_heap"
    #expect(
      try fix("heap.node-missing")
        == "\(folder)/default_cma_region c 1 5 && \(folder)/system c 1 3")
  }

  @Test func `what mends several heaps is one line, and no comment ends it early`() throws {
    let tree = try MachineTree()
    tree.remove("/etc/udev")
    for name in ["system", "default_cma_region"] { tree.mode("/dev/dma_heap/\(name)", 0o600) }
    BrokenMachine.withoutService(tree)
    func fix() throws -> String {
      try #require(tree.run(asNobody: true).finding("heap.wrong-mode")?.fix)
    }
    let change = "sudo chmod 660 /dev/dma_heap/"
    #expect(try fix() == "\(change)system && \(change)default_cma_region")
    try tree.user(groups: [])
    let join = " && sudo usermod -aG video nobody"
    #expect(
      try fix()
        == "\(change)system\(join) && \(change)default_cma_region\(join)  # then log in again")
  }

  @Test func `a device is refused by the words that heaps are refused by`() throws {
    let tree = try MachineTree()
    let card = "/dev/dri/card0"
    func found() throws -> DoctorRun.Report.Finding {
      try #require(try tree.run(asNobody: true).finding("import.closed"))
    }
    try tree.node(card, minor: 3, mode: 0o660, group: 3999)
    #expect(try found().seen == "\(card) is root:3999 0660, and nobody is not in the group 3999")
    #expect(try found().fix?.hasPrefix("sudo groupadd -g 3999 heap3999 && ") == true)
    // To read is not enough.
    try tree.node(card, minor: 3, mode: 0o644, group: MachineTree.video)
    #expect(try found().fix == "sudo chmod 660 \(card)")
    try tree.file("/.dockerenv", "")
    try tree.node(card, minor: 3, mode: 0o660, group: 3999)
    #expect(try found().fix?.hasPrefix("docker run --group-add 3999 …") == true)
    try tree.node(card, minor: 3, mode: 0o660, group: 65533)
    try BrokenMachine.unmapped(tree)
    #expect(try found().seen.hasSuffix("its group is not mapped in this user namespace"))
  }

  @Test func `a device that cannot be seen is not told to be removed`() throws {
    let tree = try MachineTree()
    tree.mode("/dev/dri", 0o744)
    let findings = try tree.run(asNobody: true).report.findings
    #expect(findings.contains { $0.id == "import.closed" })
    #expect(!findings.contains { $0.fix?.contains("rm ") == true })
  }

  @Test func `a region that no heap serves does not become smaller`() throws {
    let tree = try MachineTree()
    try tree.file("/proc/sys/kernel/osrelease", "6.12.0\n")
    try tree.file("/proc/cmdline", "quiet\n")
    try tree.file(
      "/proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 917504 kB\nCmaTotal: 327680 kB\n")
    for folder in ["/boot", "/sys/kernel/mm", "/dev/dma_heap/default_cma_region"] {
      tree.remove(folder)
    }
    tree.remove("/sys/class/dma_heap/default_cma_region")
    let found = try #require(try tree.run().finding("contiguous.no-heap"))
    #expect(found.fix?.contains("-e DMABUF_HEAPS_CMA") == true, "\(found)")
    #expect(found.fix?.contains("cma=") == false)
  }

  /// The list of sockets is of one network namespace alone.
  @Test func `a service that listens elsewhere is no dead one`() throws {
    let tree = try MachineTree()
    try tree.file("/proc/net/unix", "Num RefCount Protocol Flags Type St Inode Path\n")
    tree.remove("/run/heapd/heap.sock")
    let listener = try MessageListener(at: tree.root + "/run/heapd/heap.sock")
    #expect(try tree.run().finding("service.dead") == nil)
    #expect(try tree.run().finding("service.usable") != nil)
    withExtendedLifetime(listener) {}
  }

  private static let needsLists: Comment = "needs access control lists in the temporary folder"
  /// A tmpfs has them with CONFIG_TMPFS_POSIX_ACL.
  private static let hasLists: Bool = {
    guard let folder = try? TemporaryFolder() else { return false }
    return (try? Run.program("/usr/bin/setfacl", ["-m", "u:3999:r", folder.path]))?.status == 0
  }()

  /// As udevd and logind give it who sits at the machine; the mode shows the mask in the group's place.
  @Test(.enabled(if: Self.hasLists, Self.needsLists))
  func `an access control list that keeps the group out is told, and mended`() throws {
    let tree = try MachineTree()
    tree.remove("/etc/udev")
    BrokenMachine.withoutService(tree)
    let nodes = ["system", "default_cma_region"].map { "/dev/dma_heap/\($0)" }
    for (node, minor) in zip(nodes, [3, 5] as [UInt]) {
      try tree.node(node, minor: minor, mode: 0o600)
      let list = try Run.program("/usr/bin/setfacl", ["-m", "u:3999:rw", tree.root + node])
      #expect(list.status == 0, "\(list.error)")
    }
    let found = try #require(try tree.run(asNobody: true).finding("heap.wrong-mode"))
    #expect(
      found.seen.hasSuffix(
        "is root:root 0660 with an access control list, which does not let its group root open it"),
      "\(found.seen)")
    #expect(found.fix?.contains(" && sudo setfacl -m g::rw /dev/dma_heap/system && ") == true)
    // Without udevd, which would act on the nodes of this machine.
    tree.remove("/proc/77")
    let plain = try #require(try tree.run(asNobody: true).finding("heap.wrong-mode")?.fix)
    let change = plain.components(separatedBy: "  #")[0].components(separatedBy: " && ")
      .filter { !$0.hasPrefix("sudo usermod") }.joined(separator: " && ")
      .replacingOccurrences(of: "sudo ", with: "")
      .replacingOccurrences(of: "/dev/", with: tree.root + "/dev/")
    let done = try Run.program("/bin/sh", ["-c", change])
    #expect(done.status == 0, "\(change): \(done.error)")
    let status = try #require(NodeStatus(tree.root + nodes[0]))
    #expect(status.mode == 0o660 && status.listedGroupMode == 6)
    try tree.user(groups: [status.groupID])
    #expect(
      try tree.run(asNobody: true, groups: "\(status.groupID)").finding("heap.wrong-mode") == nil)
  }

  /// The mode shows the mask in the group's place.
  @Test(.enabled(if: Self.hasLists, Self.needsLists))
  func `a list that lets a user write to the heaps' directory is told, and mended`() throws {
    let tree = try MachineTree()
    let folder = "/dev/dma_heap"
    tree.mode(folder, 0o755)
    let list = try Run.program("/usr/bin/setfacl", ["-m", "u:3999:rwx", tree.root + folder])
    #expect(list.status == 0, "\(list.error)")
    func found() throws -> DoctorRun.Report.Finding? {
      try tree.run().finding("heap.directory-writable")
    }
    let exposure = try #require(try found())
    #expect(
      exposure.seen
        == "\(folder) is root:root 0775 with an access control list, so that others than root may write to it"
    )
    #expect(exposure.fix == "sudo chmod go-w \(folder)")
    tree.mode(folder, 0o755)
    #expect(try found() == nil)
  }

  @Test func `what lies between the pieces of a region is told, and how many pictures fit`() throws
  {
    let tree = try MachineTree()
    try tree.file("/sys/kernel/debug/cma/reserved/maxchunk", "4096\n")
    let finding = try #require(try tree.run().finding("contiguous.fragmented"))
    #expect(
      finding.seen == """
        default_cma_region: the largest buffer to be had is 16 MiB of 48 MiB (/sys/kernel/debug/cma); \
        at least 2 of 6 pictures of 1920×1080 XR24 fit
        """)
    #expect(finding.why == "buffers that live on lie between the free pieces")
    #expect(finding.fix?.hasPrefix("sudo heapctl holders") == true)
    try tree.file(
      "/proc/meminfo",
      "MemTotal: 1048576 kB\nMemAvailable: 917504 kB\nCmaTotal: 65536 kB\nCmaFree: 16384 kB\n")
    #expect(
      try tree.run().finding("contiguous.fragmented")?.why == "\(finding.why); 32 MiB are lent")
  }

  @Test func `two names of one region are a note`() throws {
    let tree = try MachineTree()
    try tree.heap("reserved", minor: 7)
    let run = try tree.run()
    #expect(
      run.finding("heap.two-names")?.seen == "reserved and default_cma_region are the same memory")
    #expect(run.finding("heap.two-names")?.severity == "note")
    #expect(run.status == 0)
  }

  @Test func `huge pages are advised where no heap is contiguous`() throws {
    let tree = try MachineTree()
    tree.remove("/dev/dma_heap/default_cma_region")
    tree.remove("/sys/class/dma_heap/default_cma_region")
    tree.remove("/sys/kernel/mm/cma")
    try tree.configure("CONFIG_DMABUF_HEAPS=y\nCONFIG_DMABUF_HEAPS_SYSTEM=y\nCONFIG_UDMABUF=y")
    let pages = "/sys/kernel/mm/hugepages/hugepages-2048kB"
    try tree.file("\(pages)/nr_hugepages", "0\n")
    let fix = try #require(try tree.run().finding("contiguous.not-built")?.fix)
    #expect(fix.hasPrefix("echo 16 | sudo tee \(pages)/nr_hugepages  # "))
    try tree.file("\(pages)/nr_hugepages", "16\n")
    try tree.file("\(pages)/free_hugepages", "15\n")
    let found = try #require(try tree.run().finding("contiguous.huge-pages"))
    #expect(found.severity == "ok")
    #expect(
      found.seen
        == "no heap, but huge pages (hugetlb): 32 MiB of 2 MiB each, of which 30 MiB are free")
    try tree.file("\(pages)/free_hugepages", "0\n")
    let full = try #require(try tree.run().finding("contiguous.huge-pages"))
    #expect(full.severity == "warning" && full.fix?.hasPrefix("echo 32 | ") == true)
    // Nobody could have a buffer of them, or use one.
    try tree.file("/proc/sys/kernel/osrelease", "6.16.12\n")
    #expect(try tree.run().finding("contiguous.huge-pages") == nil)
    try tree.file("/proc/sys/kernel/osrelease", "6.17.0\n")
    #expect(try tree.run().finding("contiguous.huge-pages") != nil)
    tree.remove("/dev/udmabuf")
    #expect(try tree.run().finding("contiguous.huge-pages") == nil)
  }
}
