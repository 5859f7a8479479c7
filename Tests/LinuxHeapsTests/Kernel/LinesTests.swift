import TestSupport
import Testing

@testable import LinuxHeaps

/// Texts in which others have a say: to Swift a carriage return and the line feed after it are one character.
@Suite struct LinesTests {
  @Test(arguments: [
    ("", [""]), ("a", ["a"]), ("a\n", ["a", ""]), ("a\r\nb\r\n", ["a\r", "b\r", ""]),
    ("\n\r\n\u{301}\n", ["", "\r", "\u{301}", ""]),
  ])
  func `a line feed ends a line, whatever is before and after it`(
    _ text: String, _ lines: [String]
  ) {
    #expect(text.lines.map(String.init) == lines)
  }

  @Test func `a program's name is one line of its file`() throws {
    let tree = try TemporaryDirectory()
    try tree.directory("proc/7")
    try tree.file("proc/7/comm", "udevd\r\n")
    #expect(MachineFiles(root: tree.path).line("/proc/7/comm") == "udevd\r")
  }

  /// Without it its limit is none.
  @Test func `a group may be called as it likes`() throws {
    let tree = try TemporaryDirectory()
    for folder in ["proc/self", "sys/fs/cgroup/a\r"] { try tree.directory(folder) }
    try tree.file("proc/self/cgroup", "0::/a\r\n")
    try tree.file(
      "proc/self/mountinfo",
      "30 25 0:24 / /mnt rw - tmpfs x rw,a=\r\n31 25 0:25 / /sys/fs/cgroup rw - cgroup2 none rw\n")
    try tree.file("sys/fs/cgroup/a\r/memory.max", "67108864\n")
    try tree.file("sys/fs/cgroup/a\r/memory.current", "0\n")
    let limit = try ControlGroup(root: tree.path).tightest()
    #expect(limit?.directory == "/sys/fs/cgroup/a\r")
  }
}
