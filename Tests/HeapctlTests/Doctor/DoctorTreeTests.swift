import Foundation
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
    #expect(fix.contains("/etc/udev/rules.d/60-dma-heap-local.rules"))
    #expect(try MachineTree().run().finding("udev.partial") == nil)
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
}
