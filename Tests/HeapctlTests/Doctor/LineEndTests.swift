import Foundation
import Testing

/// Files with lines of CR LF, and names with a carriage return.
@Suite(.enabled(if: MachineTree.isPossible, "needs root, to make device nodes"))
struct LineEndTests {
  /// udevd takes them (read_line(), src/basic/fileio.c of systemd).
  @Test func `rules with CR LF hold`() throws {
    let tree = try MachineTree()
    try tree.file(
      "/etc/udev/rules.d/60-dma-heap.rules", MachineTree.rule.replacing("\n", with: "\r\n"))
    let run = try tree.run()
    #expect(run.finding("udev.rule")?.severity == "ok")
    #expect(run.ids("warning") == [])
  }

  @Test func `another socket's name does not hide the service's`() throws {
    let tree = try MachineTree()
    let before = try tree.run().ids("ok")
    try tree.file(
      "/proc/net/unix",
      """
      Num       RefCount Protocol Flags    Type St Inode Path
      0000000000000000: 00000002 00000000 00010000 0005 01 11110 /tmp/x\r
      0000000000000000: 00000002 00000000 00010000 0005 01 11111 /run/heapd/heap.sock

      """)
    #expect(try tree.run().ids("ok") == before)
  }
}
