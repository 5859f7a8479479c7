import Foundation
import TestSupport
import Testing

/// The doctor's fixes of a kernel's command line, carried out on the files that boot loaders read.
@Suite(.enabled(if: MachineTree.isPossible, "needs root, to make device nodes"))
struct BootParameterTests {
  struct Grub: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Of /etc/default/grub and of the files in /etc/default/grub.d, which are sourced after it.
    let settings: [String]
    var programs = ["/usr/sbin/update-grub"]
    var update = "update-grub"
    var words = ["quiet", "console=ttyS0"]

    init(
      _ description: String, _ settings: String..., programs: [String] = ["/usr/sbin/update-grub"],
      update: String = "update-grub"
    ) {
      testDescription = description
      self.settings = settings
      self.programs = programs
      self.update = update
    }
  }

  static let grubs: [Grub] = [
    .init(
      "no word yet", "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"console=ttyS0\"\n"),
    .init(
      "the word comes first",
      "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"cma=8M console=ttyS0\"\n"),
    .init("it is the only one", "GRUB_CMDLINE_LINUX=\"cma=8M\"\nGRUB_DEFAULT=0\n"),
    .init(
      "it comes last",
      "GRUB_CMDLINE_LINUX_DEFAULT='quiet cma=8M'\nGRUB_CMDLINE_LINUX='console=ttyS0'\n"),
    .init(
      "it is in both, with a place",
      "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet cma=8M@0-4G\"\nGRUB_CMDLINE_LINUX=\"cma=16M console=ttyS0 cma=8M\"\n"
    ),
    .init("without quotes", "GRUB_CMDLINE_LINUX=cma=8M\nGRUB_CMDLINE_LINUX_DEFAULT=quiet\n"),
    .init("empty", "GRUB_CMDLINE_LINUX=\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet cma=8M\"\n"),
    .init("only the default ones", "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet cma=8M console=ttyS0\"\n"),
    .init(
      "set twice",
      "GRUB_CMDLINE_LINUX=\"cma=8M\"\nGRUB_CMDLINE_LINUX=\"quiet $GRUB_CMDLINE_LINUX\"\n"),
    .init(
      "a word of a like name",
      "GRUB_CMDLINE_LINUX=\"hugetlb_cma=8M cma=8M x.cma=1 console=ttyS0\"\n"
    ),
    .init(
      "a file of grub.d has it", "GRUB_CMDLINE_LINUX=\"console=ttyS0\"\n",
      "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT quiet cma=8M\"\n"),
    .init(
      "a file of grub.d sets all anew", "GRUB_CMDLINE_LINUX=\"cma=8M\"\n",
      "GRUB_CMDLINE_LINUX=\"console=ttyS0 cma=8M\"\n"),
    .init(
      "grub2", "GRUB_CMDLINE_LINUX=\"cma=8M quiet\"\n", programs: ["/usr/sbin/grub2-mkconfig"],
      update: "grub2-mkconfig -o /boot/grub2/grub.cfg"),
    .init(
      "neither", "GRUB_CMDLINE_LINUX=\"cma=8M quiet\"\n", programs: ["/usr/bin/grub-mkconfig"],
      update: "grub-mkconfig -o /boot/grub/grub.cfg"),
  ]

  @Test(arguments: grubs) func `grub's settings have the new word alone`(_ grub: Grub) throws {
    let tree = try Self.tree()
    let paths = ["/etc/default/grub", "/etc/default/grub.d/50-board.cfg"].prefix(
      grub.settings.count)
    for (path, text) in zip(paths, grub.settings) { try tree.file(path, text) }
    for program in grub.programs { try tree.file(program, "") }
    let source = "for file in \(paths.joined(separator: " ")); do . ROOT$file; done"
    func line() throws -> [Substring] {
      let script = source.replacing("ROOT", with: tree.root)
      let run = try Run.program(
        "/bin/sh",
        ["-c", "set -e; \(script); echo $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT"])
      #expect(run.error == "")
      return run.output.split { $0.isWhitespace }
    }
    let others = try line().filter { !$0.hasPrefix("cma=") }
    // A second time it finds its own.
    for _ in 0..<2 {
      #expect(try Self.carryOut(Self.fix(tree), in: tree) == "\(grub.update)\n")
      let words = try line()
      #expect(words.filter { $0.hasPrefix("cma=") } == ["cma=64M"])
      #expect(words.filter { !$0.hasPrefix("cma=") }.sorted() == others.sorted())
    }
  }

  @Test(arguments: ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"])
  func `a Raspberry Pi's command line has the new word alone`(_ path: String) throws {
    for text in [
      "root=/dev/mmcblk0p2 rootwait\n", "cma=8M root=/dev/mmcblk0p2 rootwait",
      "root=/dev/mmcblk0p2 cma=8M cma=16M@0 rootwait \r\n",
    ] {
      let tree = try Self.tree()
      try tree.file(path, text)
      #expect(try Self.carryOut(Self.fix(tree), in: tree) == "")
      let lines = try String(contentsOfFile: tree.root + path, encoding: .utf8)
        .split(separator: "\n")
      #expect(lines.count == 1)
      #expect(
        lines[0].split { $0.isWhitespace } == ["root=/dev/mmcblk0p2", "rootwait", "cma=64M"])
    }
  }

  @Test func `each entry of extlinux has the new word alone`() throws {
    let tree = try Self.tree()
    let path = "/boot/extlinux/extlinux.conf"
    try tree.file(
      path,
      "default l0\nlabel l0\n\tlinux /Image\n\tappend root=/dev/sda1 cma=8M ro\nlabel l1\n  APPEND cma=8M\n"
    )
    #expect(try Self.carryOut(Self.fix(tree), in: tree) == "")
    let lines = try String(contentsOfFile: tree.root + path, encoding: .utf8)
      .split(separator: "\n").map { $0.split { $0.isWhitespace }.joined(separator: " ") }
    #expect(
      lines == [
        "default l0", "label l0", "linux /Image", "append root=/dev/sda1 ro cma=64M", "label l1",
        "APPEND cma=64M",
      ])
  }

  /// A file and what it is to be: each line that is not of the kernel's words stays as it is, to the byte.
  struct Settings: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let path: String
    let before: String
    let after: String
    var programs: [String] = []
    var calls = ""

    init(
      _ description: String, _ path: String, _ before: String, _ after: String,
      programs: [String] = [], calls: String = ""
    ) {
      testDescription = description
      self.path = path
      self.before = before
      self.after = after
      self.programs = programs
      self.calls = calls
    }
  }

  private static let armbian = "/boot/armbianEnv.txt"
  private static let head = "verbosity=1\nconsole=serial\noverlay_prefix=cma=sun50i\n"
  private static let menu = ["/usr/sbin/u-boot-update"]
  private static let install = ["/usr/bin/kernel-install"]

  static let settings: [Settings] = [
    .init("armbian, without words", armbian, head, head + "extraargs=cma=64M\n"),
    .init(
      "armbian, no newline at the end", armbian, "verbosity=1", "verbosity=1\nextraargs=cma=64M\n"),
    .init(
      "armbian, other words", armbian, head + "extraargs=quiet hugetlb_cma=8M\nfdtfile=a.dtb\n",
      head + "extraargs=cma=64M quiet hugetlb_cma=8M\nfdtfile=a.dtb\n"),
    .init(
      "armbian, the word is there", armbian,
      head + "extraargs=cma=8M quiet\nusbstoragequirks=0x2537:u\n",
      head + "extraargs=cma=64M  quiet\nusbstoragequirks=0x2537:u\n"),
    .init(
      "armbian, the word is in both", armbian, "extraargs=a cma=8M@0-4G\nextraboardargs=cma=8M b\n",
      "extraargs=cma=64M a \nextraboardargs= b\n"),
    .init(
      "orange pi", "/boot/orangepiEnv.txt", "extraargs=cma=8M\n", "extraargs=cma=64M \n"),
    .init("dietpi", "/boot/dietpiEnv.txt", "rootdev=x\n", "rootdev=x\nextraargs=cma=64M\n"),
    .init(
      "beaglebone", "/boot/uEnv.txt", "uname_r=6.12\n#cmdline=cma=1M\ncmdline=quiet cma=8M\n",
      "uname_r=6.12\n#cmdline=cma=1M\ncmdline=cma=64M quiet \n"),
    .init(
      "systemd-boot", "/etc/kernel/cmdline", "root=UUID=1 cma=8M quiet\n",
      "root=UUID=1  quiet cma=64M\n", programs: install,
      calls: "kernel-install add RELEASE /boot/vmlinuz-RELEASE\n"),
    .init(
      "systemd-boot, with a comment and two lines", "/etc/kernel/cmdline",
      "# cma=1M\nroot=UUID=1\nquiet cma=8M", "# cma=1M\nroot=UUID=1 cma=64M\nquiet ",
      programs: install, calls: "kernel-install add RELEASE /boot/vmlinuz-RELEASE\n"),
    .init(
      "systemd-boot, lines of CR LF", "/etc/kernel/cmdline", "# cma=1M\r\nroot=UUID=1 cma=8M\r\n",
      "# cma=1M\r\nroot=UUID=1 cma=64M\n", programs: install,
      calls: "kernel-install add RELEASE /boot/vmlinuz-RELEASE\n"),
    .init(
      "u-boot-menu", "/etc/default/u-boot",
      "#U_BOOT_PARAMETERS=\"cma=1M\"\nU_BOOT_PARAMETERS=\"ro cma=8M quiet\"\nU_BOOT_TIMEOUT=\"5\"\n",
      "#U_BOOT_PARAMETERS=\"cma=1M\"\nU_BOOT_PARAMETERS=\"cma=64M ro  quiet\"\nU_BOOT_TIMEOUT=\"5\"\n",
      programs: menu, calls: "u-boot-update\n"),
    .init(
      "u-boot-menu, nothing set", "/etc/default/u-boot", "#U_BOOT_PARAMETERS=\"ro quiet\"\n",
      "#U_BOOT_PARAMETERS=\"ro quiet\"\nU_BOOT_PARAMETERS=\"${U_BOOT_PARAMETERS:-ro quiet} cma=64M\"\n",
      programs: menu, calls: "u-boot-update\n"),
    .init(
      "u-boot-menu, an empty file", "/etc/default/u-boot", "",
      "U_BOOT_PARAMETERS=\"${U_BOOT_PARAMETERS:-ro quiet} cma=64M\"\n",
      programs: menu,
      calls: "U_BOOT_PARAMETERS=\"${U_BOOT_PARAMETERS:-ro quiet} cma=64M\"\nu-boot-update\n"),
  ]

  @Test(arguments: settings) func `a file's other words stay as they are`(_ settings: Settings)
    throws
  {
    let tree = try Self.tree()
    try tree.file(settings.path, settings.before)
    for program in settings.programs { try tree.file(program, "") }
    // A board's own file comes first.
    for path in ["/etc/default/grub", "/etc/kernel/cmdline"]
    where settings.path.hasPrefix("/boot") {
      try tree.file(path, "")
    }
    let release = try Run.program("/bin/uname", ["-r"]).output.trimmingCharacters(in: .newlines)
    let calls = settings.calls.replacing("RELEASE", with: release)
    #expect(try Self.carryOut(Self.fix(tree), in: tree) == calls)
    func text() throws -> String {
      try String(contentsOfFile: tree.root + settings.path, encoding: .utf8)
    }
    #expect(try text() == settings.after)
    // A second time it finds its own.
    _ = try Self.carryOut(Self.fix(tree), in: tree)
    func words(_ text: String) -> [Substring] { text.split { " \n=\"{}".contains($0) } }
    #expect(try words(text()).count { $0 == "64M" } == 1)
  }

  /// As Radxa's images have it.
  @Test func `u-boot-menu's words of another file have the new word alone`() throws {
    let tree = try Self.tree()
    try tree.file(Self.menu[0], "")
    try tree.file("/etc/default/u-boot", "U_BOOT_PARAMETERS=\"$(cat /etc/kernel/cmdline)\"\n")
    try tree.file("/etc/kernel/cmdline", "root=UUID=1 cma=8M quiet\n")
    #expect(try Self.carryOut(Self.fix(tree), in: tree) == "u-boot-update\n")
    let script = ". /etc/default/u-boot; echo $U_BOOT_PARAMETERS".replacing(
      " /etc", with: " \(tree.root)/etc")
    let settings = tree.root + "/etc/default/u-boot"
    let text = try String(contentsOfFile: settings, encoding: .utf8)
    try tree.file("/etc/default/u-boot", text.replacing(" /etc", with: " \(tree.root)/etc"))
    #expect(
      try Run.program("/bin/sh", ["-c", script]).output == "cma=64M root=UUID=1 quiet\n")
  }

  @Test func `grubby takes the word away that is there`() throws {
    let tree = try Self.tree()
    try tree.file("/usr/sbin/grubby", "")
    #expect(
      try Self.carryOut(Self.fix(tree), in: tree)
        == "grubby --update-kernel=ALL --remove-args=cma --args=cma=64M\n")
  }

  @Test func `rpm-ostree takes away the words that are there`() throws {
    let tree = try Self.tree()
    for path in ["/run/ostree-booted", "/usr/bin/rpm-ostree", "/usr/sbin/grubby"] {
      try tree.file(path, "")
    }
    try tree.file("/proc/cmdline", "cma=8M quiet hugetlb_cma=1G cma=16M@0\n")
    #expect(
      try Self.carryOut(Self.fix(tree), in: tree)
        == "rpm-ostree kargs --delete-if-present=cma=8M --delete-if-present=cma=16M@0 --append-if-missing=cma=64M\n"
    )
  }

  @Test func `where no boot loader's file is known, it is said that there is a word`() throws {
    let tree = try Self.tree()
    let fix = try Self.fix(tree)
    #expect(fix.contains("put cma=64M in place of cma=8M"))
    try tree.file("/proc/cmdline", "quiet\n")
    #expect(try Self.fix(tree).contains("add cma=64M to it"))
  }

  /// A machine whose region of 8 MiB is too small.
  private static func tree() throws -> MachineTree {
    let tree = try MachineTree()
    try tree.file("/proc/cmdline", "quiet cma=8M\n")
    try tree.file("/sys/kernel/mm/cma/reserved/total_pages", "2048\n")
    try tree.file("/sys/kernel/mm/cma/reserved/available_pages", "2048\n")
    return tree
  }

  private static func fix(_ tree: MachineTree) throws -> String {
    try #require(try tree.run().finding("contiguous.small")?.fix)
  }

  /// - Returns: The programs that it called to write the boot loader's menu, which only say so here.
  static func carryOut(_ fix: String, in tree: MachineTree) throws -> String {
    let programs = tree.root + "/shims"
    try FileManager.default.createDirectory(
      atPath: programs, withIntermediateDirectories: true)
    for program in [
      "update-grub", "grub2-mkconfig", "grub-mkconfig", "grubby", "kernel-install", "u-boot-update",
      "rpm-ostree",
    ] {
      try tree.file("/shims/\(program)", "#!/bin/sh\necho $(basename $0) \"$@\"\n")
      tree.mode("/shims/\(program)", 0o755)
    }
    try tree.file("/shims/sudo", "#!/bin/sh\nexec \"$@\"\n")
    tree.mode("/shims/sudo", 0o755)
    // Its files are those of the tree; what only names one, after -o, stays.
    var command = fix
    for folder in [
      "/etc/default", "/etc/kernel", "/boot/firmware", "/boot/cmdline", "/boot/config.txt",
      "/boot/extlinux",
      "/boot/armbianEnv", "/boot/orangepiEnv", "/boot/dietpiEnv", "/boot/uEnv",
    ] {
      command = command.replacing(" \(folder)", with: " \(tree.root)\(folder)")
    }
    let run = try Run.program(
      "/usr/bin/env", ["PATH=\(programs):/usr/bin:/bin", "bash", "-c", command])
    #expect(run.error == "", "\(command)")
    #expect(run.status == 0, "\(command)")
    return run.output
  }
}
