import Foundation
import Glibc
import LinuxHeaps

/// The files of a machine on which all is well: Linux 7.3 with both heaps, a rule, and a user who is in
/// the heaps' group. A test takes away or spoils what it is about.
///
/// Its nodes are of devices that every machine has; only root can make them.
final class MachineTree {
  static let isPossible: Bool = {
    guard geteuid() == 0 else { return false }
    let path = "/tmp/linux-heaps-node-\(getpid())"
    defer { unsafe unlink(path) }
    return unsafe mknod(path, S_IFCHR | 0o600, makedev(3)) == 0 && access(path, R_OK) == 0
  }()

  /// A memory device (1), e.g. null (3) or zero (5).
  private static func makedev(_ minor: UInt) -> UInt { 1 << 8 | minor }

  let root: String

  init() throws {
    root = "/tmp/linux-heaps-machine-\(UUID().uuidString)"
    try file("/proc/sys/kernel/osrelease", "7.3.4\n")
    try file("/proc/cmdline", "quiet cma=64M\n")
    try configure()
    try user(groups: [Self.video])
    try file(
      "/proc/meminfo",
      """
      MemTotal:        1048576 kB
      MemAvailable:     917504 kB
      CmaTotal:          65536 kB
      CmaFree:           65536 kB

      """)
    try file("/proc/self/cgroup", "0::/user.slice/shell\n")
    try file(
      "/proc/self/mountinfo",
      "30 25 0:24 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n")
    try file("/sys/fs/cgroup/user.slice/memory.max", "max\n")
    try file("/sys/fs/cgroup/user.slice/shell/memory.max", "max\n")
    try file(
      "/proc/self/limits",
      """
      Limit                     Soft Limit           Hard Limit           Units
      Max open files            1024                 1048576              files
      Max address space         unlimited            unlimited            bytes

      """)
    try heap("system", minor: 3)
    try heap("default_cma_region", minor: 5)
    try file("/sys/kernel/mm/cma/reserved/total_pages", "\((64 << 20) / pageSize)\n")
    try file("/sys/kernel/mm/cma/reserved/available_pages", "\((48 << 20) / pageSize)\n")
    try file("/etc/udev/rules.d/60-dma-heap.rules", Self.rule)
    try file("/proc/77/comm", "systemd-udevd\n")
    try file("/usr/bin/udevadm", "")
    try node("/dev/udmabuf", minor: 3, mode: 0o660)
    try file("/sys/module/udmabuf/parameters/size_limit_mb", "64\n")
    try file("/sys/module/dma_heap/parameters/mem_accounting", "N\n")
    try node("/dev/dri/card0", minor: 3, mode: 0o660)
    try file("/run/heapd/heap.sock", "")
    try file(
      "/proc/net/unix",
      """
      Num       RefCount Protocol Flags    Type St Inode Path
      0000000000000000: 00000002 00000000 00010000 0005 01 11111 /run/heapd/heap.sock

      """)
  }

  static let rule = "# heaps\nSUBSYSTEM==\"dma_heap\", \\\n  GROUP=\"video\", MODE=\"0660\"\n"

  deinit { try? FileManager.default.removeItem(atPath: root) }

  static let video = unsafe getgrnam("video")!.pointee.gr_gid

  /// The kernel's options, `off` in none of them.
  func configure(
    _ options: String = """
    CONFIG_DMABUF_HEAPS=y
    CONFIG_DMABUF_HEAPS_SYSTEM=y
    CONFIG_DMABUF_HEAPS_CMA=y
    CONFIG_CMA_SIZE_MBYTES=64
    CONFIG_UDMABUF=y
    """
  ) throws {
    try file("/boot/config-7.3.4", "# Linux\n\(options)\n# CONFIG_OTHER is not set\n")
  }

  /// Who asks, without any capability.
  func user(_ user: UInt32 = 65534, groups: [UInt32]) throws {
    let list = groups.map { "\($0)" }.joined(separator: " ")
    try file(
      "/proc/self/status",
      """
      Name:\theapctl
      Uid:\t\(user)\t\(user)\t\(user)\t\(user)
      Gid:\t\(user)\t\(user)\t\(user)\t\(user)
      Groups:\t\(list)
      CapEff:\t0000000000000000

      """)
  }

  func heap(_ name: String, minor: UInt) throws {
    try node("/dev/dma_heap/\(name)", minor: minor, mode: 0o660, group: Self.video)
    try file("/sys/class/dma_heap/\(name)/dev", "1:\(minor)\n")
  }

  func node(_ path: String, minor: UInt, mode: mode_t, group: gid_t = 0) throws {
    try folder(of: path)
    remove(path)
    guard unsafe mknod(root + path, S_IFCHR | mode, Self.makedev(minor)) == 0,
      unsafe chown(root + path, 0, group) == 0, unsafe chmod(root + path, mode) == 0
    else { throw POSIXError(POSIXErrorCode(rawValue: errno)!) }
  }

  func file(_ path: String, _ text: String) throws {
    try folder(of: path)
    try Data(text.utf8).write(to: URL(fileURLWithPath: root + path))
  }

  func link(_ path: String, to target: String) throws {
    try FileManager.default.createSymbolicLink(
      atPath: root + path, withDestinationPath: target)
  }

  func remove(_ path: String) { try? FileManager.default.removeItem(atPath: root + path) }

  func mode(_ path: String, _ mode: mode_t) { unsafe _ = chmod(root + path, mode) }

  func owner(_ path: String, _ user: uid_t) { unsafe _ = chown(root + path, user, 0) }

  private func folder(of path: String) throws {
    try FileManager.default.createDirectory(
      atPath: URL(fileURLWithPath: root + path).deletingLastPathComponent().path,
      withIntermediateDirectories: true)
  }

  /// As its user where `asNobody`, who is in the group of `proc/self/status` only if `groups` says so.
  func run(asNobody: Bool = false, groups: String? = nil) throws -> DoctorRun {
    let user = groups.map { Prefix.nobody(in: $0) } ?? Prefix.nobody
    return try DoctorRun(
      "--root", root, through: asNobody ? Prefix.namespace("", as: user) : [])
  }
}
