import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct ControlGroupTests {
  /// What a process sees of its groups, and the limit that counts; sizes in MiB.
  struct Groups: CustomTestStringConvertible {
    let testDescription: String
    let membership: String
    let mounts: String
    let files: [String: String]
    /// Directory, file, bytes, what is left.
    let limit: (String, String, UInt64, UInt64)?

    init(
      _ description: String, of membership: String = "0::/a/b",
      on mounts: String = "/ /sys/fs/cgroup cgroup2 rw", _ files: [String: String],
      _ limit: (String, String, UInt64, UInt64)?
    ) {
      testDescription = description
      self.membership = membership
      self.mounts = mounts
      self.files = files
      self.limit = limit
    }

    func makeTree() throws -> TemporaryDirectory {
      let tree = try TemporaryDirectory()
      try tree.file(at: "/proc/self/cgroup", "1:name=systemd:/x\n\(membership)\n")
      // ROOT POINT TYPE OPTIONS, beside mounts of other kinds.
      let lines = mounts.split(separator: "\n").map { mount in
        let words = mount.split(separator: " ")
        return "30 25 0:24 \(words[0]) \(words[1]) rw shared:9 - \(words[2]) none \(words[3])\n"
      }
      try tree.file(
        at: "/proc/self/mountinfo",
        "25 1 0:2 / / rw - 9p root rw\n26 25 0:3 / /sys/fs/cgroup/cpu rw - cgroup none rw,cpu\n"
          + lines.joined())
      for (path, text) in files { try tree.file(at: path, text + "\n") }
      return tree
    }
  }

  private static let bytes64 = "67108864"
  private static let bytes16 = "16777216"

  static let groups = [
    Groups("no limit", ["/sys/fs/cgroup/a/b/memory.max": "max"], nil),
    Groups(
      "a limit of its own",
      [
        "/sys/fs/cgroup/a/b/memory.max": bytes64, "/sys/fs/cgroup/a/b/memory.current": bytes16,
        "/sys/fs/cgroup/a/memory.max": "max",
      ], ("/sys/fs/cgroup/a/b", "memory.max", 64, 48)),
    Groups(
      "a level above leaves less",
      [
        "/sys/fs/cgroup/a/b/memory.max": bytes64, "/sys/fs/cgroup/a/b/memory.current": "0",
        "/sys/fs/cgroup/a/memory.max": bytes64, "/sys/fs/cgroup/a/memory.current": bytes16,
      ], ("/sys/fs/cgroup/a", "memory.max", 64, 48)),
    Groups(
      "used beyond its limit",
      [
        "/sys/fs/cgroup/a/b/memory.max": bytes16, "/sys/fs/cgroup/a/b/memory.current": bytes64,
      ], ("/sys/fs/cgroup/a/b", "memory.max", 16, 0)),
    Groups(
      "slowed down before it is killed",
      [
        "/sys/fs/cgroup/a/b/memory.max": bytes64, "/sys/fs/cgroup/a/b/memory.high": bytes16,
        "/sys/fs/cgroup/a/b/memory.current": "0",
      ], ("/sys/fs/cgroup/a/b", "memory.high", 16, 16)),
    Groups(
      "pages of files that can be dropped",
      [
        "/sys/fs/cgroup/a/b/memory.max": bytes64, "/sys/fs/cgroup/a/b/memory.current": bytes64,
        "/sys/fs/cgroup/a/b/memory.stat": """
        anon 1048576
        file 50331648
        shmem 9437184
        file_mapped 4096
        file_dirty 4194304
        file_writeback 4194304
        inactive_anon 10485760
        inactive_file 8388608
        active_file \(bytes16)
        """,
      ], ("/sys/fs/cgroup/a/b", "memory.max", 64, 16)),
    Groups(
      "a container's namespace", of: "0::/",
      ["/sys/fs/cgroup/memory.max": bytes64, "/sys/fs/cgroup/memory.current": "0"],
      ("/sys/fs/cgroup", "memory.max", 64, 64)),
    Groups(
      "a container that sees its own part of the tree", of: "0::/docker/a/b",
      on: "/docker/a /sys/fs/cgroup cgroup2 rw",
      [
        "/sys/fs/cgroup/memory.max": bytes64, "/sys/fs/cgroup/memory.current": "0",
        "/sys/fs/cgroup/b/memory.max": bytes16, "/sys/fs/cgroup/b/memory.current": "0",
      ], ("/sys/fs/cgroup/b", "memory.max", 16, 16)),
    Groups(
      "two mounts, of which one shows all", of: "0::/docker/a",
      on: "/docker/a /mnt cgroup2 rw\n/ /sys/fs/cgroup cgroup2 rw",
      [
        "/mnt/memory.max": bytes64, "/sys/fs/cgroup/docker/a/memory.max": bytes64,
        "/sys/fs/cgroup/docker/memory.max": bytes16,
      ], ("/sys/fs/cgroup/docker", "memory.max", 16, 16)),
    Groups(
      "a mount that begins above the namespace", of: "0::/b",
      on: "/../.. /sys/fs/cgroup cgroup2 rw",
      ["/sys/fs/cgroup/memory.max": bytes64, "/sys/fs/cgroup/b/memory.max": bytes16],
      ("/sys/fs/cgroup", "memory.max", 64, 64)),
    Groups(
      "outside of the namespace", of: "0::/../b",
      ["/sys/fs/cgroup/memory.max": bytes64, "/sys/fs/b/memory.max": bytes64], nil),
    Groups(
      "version 1", of: "4:hugetlb,memory:/docker/a\n0::/",
      on: "/ /sys/fs/cgroup/unified cgroup2 rw\n"
        + "/docker/a /sys/fs/cgroup/memory cgroup rw,hugetlb,memory",
      [
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": bytes64,
        "/sys/fs/cgroup/memory/memory.usage_in_bytes": bytes16,
        "/sys/fs/cgroup/memory/memory.stat": """
        inactive_file 1048576
        total_inactive_file 6291456
        total_active_file 2097152
        total_dirty 1048576
        total_writeback 1048576
        """,
      ], ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", 64, 54)),
    Groups(
      "version 1 without a limit", of: "4:memory:/",
      on: "/ /sys/fs/cgroup/memory cgroup rw,memory",
      ["/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"], nil),
    Groups("not mounted", on: "", ["/sys/fs/cgroup/a/b/memory.max": bytes64], nil),
  ]

  @Test(arguments: groups)
  func `the level that leaves least counts`(_ groups: Groups) throws {
    let tree = try groups.makeTree()
    let limit = try ControlGroup(root: tree.path).tightest()
    #expect(limit?.directory == groups.limit?.0)
    #expect(limit?.file == groups.limit?.1)
    #expect(limit?.bytes == groups.limit.map { $0.2 * mebibyte })
    #expect(limit?.left == groups.limit.map { $0.3 * mebibyte })
    #expect(limit?.available == limit.map { $0.left.less($0.bytes / 16) })
  }

  @Test func `a kernel without control groups has no limit`() throws {
    let tree = try TemporaryDirectory()
    #expect(try ControlGroup(root: tree.path).tightest() == nil)
  }

  @Test func `a limit that is set later counts, and so does another group`() throws {
    let tree = try Groups("", ["/sys/fs/cgroup/a/b/memory.max": "max"], nil).makeTree()
    let group = ControlGroup(root: tree.path)
    #expect(try group.tightest() == nil)
    try tree.file(at: "/sys/fs/cgroup/a/b/memory.max", "\(Self.bytes64)\n")
    #expect(try group.tightest()?.bytes == 64 * mebibyte)
    try tree.file(at: "/sys/fs/cgroup/c/memory.max", "\(Self.bytes16)\n")
    try tree.file(at: "/proc/self/cgroup", "0::/c\n")
    #expect(try group.tightest()?.bytes == 16 * mebibyte)
  }

  // A process with no descriptor left must not be told that it has no limit.
  @Test func `a file that cannot be read just now is an error`() throws {
    let tree = try Groups("", ["/sys/fs/cgroup/a/b/memory.max/directory": ""], nil).makeTree()
    var error: Errno?
    do throws(Errno) { _ = try ControlGroup(root: tree.path).tightest() } catch let caught {
      error = caught
    }
    #expect(error == .isDirectory)
  }
}

extension TemporaryDirectory {
  /// Replaces the file, and makes the directories above it.
  fileprivate func file(at path: String, _ text: String) throws {
    for place in path.indices.dropFirst() where path[place] == "/" {
      _ = unsafe mkdir("\(self.path)\(path[..<place])", 0o700)
    }
    _ = unsafe unlink("\(self.path)\(path)")
    try file(String(path.dropFirst()), text)
  }
}
