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

  @Test func `where no boot loader's file is known, it is said that there is a word`() throws {
    let tree = try Self.tree()
    let fix = try Self.fix(tree)
    #expect(fix.contains("put cma=64M in place of the cma= there"))
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
    for program in ["update-grub", "grub2-mkconfig", "grub-mkconfig"] {
      try tree.file("/shims/\(program)", "#!/bin/sh\necho $(basename $0) \"$@\"\n")
      tree.mode("/shims/\(program)", 0o755)
    }
    try tree.file("/shims/sudo", "#!/bin/sh\nexec \"$@\"\n")
    tree.mode("/shims/sudo", 0o755)
    // Its files are those of the tree; what only names one, after -o, stays.
    var command = fix
    for folder in ["/etc/default", "/boot/firmware", "/boot/cmdline", "/boot/extlinux"] {
      command = command.replacing(" \(folder)", with: " \(tree.root)\(folder)")
    }
    let run = try Run.program(
      "/usr/bin/env", ["PATH=\(programs):/usr/bin:/bin", "bash", "-c", command])
    #expect(run.error == "", "\(command)")
    #expect(run.status == 0, "\(command)")
    return run.output
  }
}
