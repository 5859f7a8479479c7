internal import CLibrary
package import SystemPackage

/// The memory limits of this process's control groups, from its own up to the root (cgroups(7)): version 2, and the memory
/// controller of version 1.
///
/// At its limit a group is refused nothing: the out-of-memory killer ends one of its processes, because pages of buffers
/// cannot be dropped. Of a control group namespace nothing above its root is shown.
package final class ControlGroup: Sendable {
  package static let file = "/proc/self/cgroup"

  /// A level that has a limit.
  package struct Limit: Sendable {
    package let directory: String
    /// The lowest of `memory.max`, beyond which the kernel kills, and `memory.high`, beyond which it slows down every process
    /// of the group, for as long as the buffers are there; of version 1 `memory.limit_in_bytes`.
    package let file: String
    package let bytes: UInt64
    /// Without pages of files that can be dropped. What could be swapped out counts, as it does for `MemAvailable`.
    package let used: UInt64

    package var left: UInt64 { bytes.less(used) }

    /// Left to the group's processes, which go on meanwhile, to the kernel's own memory for a buffer, and to
    /// figures that lag: up to 64 pages for each processor (`MEMCG_CHARGE_BATCH`).
    package var margin: UInt64 { bytes / 16 }

    /// What requests may have.
    package var available: UInt64 { left.less(margin) }
  }

  private enum Version { case one, two }

  private struct Level {
    let directory: String
    let version: Version
  }

  private let root: String
  /// The levels of the last membership that was read; mounts stay, processes can be moved.
  private let found = Guarded<(membership: String, levels: [Level])>(("", []))

  /// - Parameter root: What stands before each path, where a tree of files stands for the machine.
  package init(root: String = "") { self.root = root }

  /// What is read anew: limits can be set at any time.
  ///
  /// - Throws: Not where the kernel does not tell: it has no control groups, or this process may not read of them.
  package func limits() throws(Errno) -> [Limit] {
    var limits: [Limit] = []
    for level in try levels() {
      if let limit = try limit(of: level) { limits.append(limit) }
    }
    return limits
  }

  /// The level that leaves least.
  func tightest() throws(Errno) -> Limit? {
    try limits().min { $0.available < $1.available }
  }

  /// The directories of version 2's levels.
  package func directories() throws(Errno) -> [String] {
    try levels().filter { $0.version == .two }.map(\.directory)
  }

  /// Whether the memory of kernel heaps counts, besides that of memfds and udmabufs: chosen when the kernel boots
  /// (`dma_heap.mem_accounting`, Linux 7.3). Never that of contiguous and protected heaps.
  static let chargesHeaps: Bool = {
    do throws(Errno) {
      return try SmallFile.read("/sys/module/dma_heap/parameters/mem_accounting").hasPrefix("Y")
    } catch {
      return error != .noSuchFileOrDirectory
    }
  }()

  // MARK: A level's figures

  private func limit(of level: Level) throws(Errno) -> Limit? {
    let (files, usage, prefix) =
      switch level.version {
      case .one: (["memory.limit_in_bytes"], "memory.usage_in_bytes", "total_")
      case .two: (["memory.max", "memory.high"], "memory.current", "")
      }
    var lowest: (file: String, bytes: UInt64)?
    for file in files {
      // Version 2 writes no limit as `max`, and version 1 as a number near 2^63. The root has no such file.
      if let text = try text("\(level.directory)/\(file)"), let bytes = text[...].leadingNumber,
        bytes < lowest?.bytes ?? 1 << 62
      {
        lowest = (file, bytes)
      }
    }
    guard let lowest else { return nil }
    let used = try text("\(level.directory)/\(usage)").flatMap { $0[...].leadingNumber } ?? 0
    let droppable = Self.droppable(try text("\(level.directory)/memory.stat") ?? "", prefix)
    return Limit(
      directory: level.directory, file: lowest.file, bytes: lowest.bytes,
      used: used.less(droppable))
  }

  /// Pages of files that were written back. A memfd's are anonymous to the lists that are counted here.
  private static func droppable(_ statistics: String, _ prefix: String) -> UInt64 {
    var (cached, unwritten): (UInt64, UInt64) = (0, 0)
    for line in statistics.split(separator: "\n") where line.hasPrefix(prefix) {
      guard let space = line.firstIndex(of: " ") else { continue }
      func bytes() -> UInt64 { line[line.index(after: space)...].leadingNumber ?? 0 }
      switch line[..<space].dropFirst(prefix.utf8.count) {
      case "active_file", "inactive_file": cached += bytes()
      case "file_dirty", "file_writeback", "dirty", "writeback": unwritten += bytes()
      default: break
      }
    }
    return cached.less(unwritten)
  }

  /// Nil where the kernel does not tell.
  private func text(_ path: String) throws(Errno) -> String? {
    do throws(Errno) { return try SmallFile.read(root + path) } catch {
      switch error {
      // The last: the group was removed meanwhile.
      case .noSuchFileOrDirectory, .permissionDenied, .notPermitted, .operationNotSupportedByDevice:
        return nil
      default: throw error
      }
    }
  }

  // MARK: The levels

  private func levels() throws(Errno) -> [Level] {
    guard let membership = try text(Self.file) else { return [] }
    return try found.withLock { found throws(Errno) in
      if membership != found.membership || found.levels.isEmpty {
        found = (membership, try levels(of: membership))
      }
      return found.levels
    }
  }

  private func levels(of membership: String) throws(Errno) -> [Level] {
    let mounts = try Self.mounts(SmallFile.readAll("\(root)/proc/self/mountinfo"))
    var levels: [Level] = []
    // `HIERARCHY:CONTROLLERS:PATH`; version 2 has neither of the first two.
    for line in membership.lines {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let version: Version
      if fields[1].isEmpty {
        version = .two
      } else if fields[1].split(separator: ",").contains("memory") {
        version = .one
      } else {
        continue
      }
      // The one that shows most of the tree.
      let mount = mounts.filter { $0.version == version }.min { $0.root.count < $1.root.count }
      guard let mount, var path = Self.path(of: fields[2], under: mount.root) else { continue }
      if unsafe access("\(root)\(mount.point)\(path)", F_OK) != 0 { path = "" }
      while true {
        while path.last == "/" { path.removeLast() }
        levels.append(Level(directory: "\(mount.point)\(path)", version: version))
        guard let slash = path.lastIndex(of: "/") else { break }
        path = path[..<slash]
      }
    }
    return levels
  }

  /// Of a group below a mount, which may show only a part of the tree, e.g. a container's own.
  ///
  /// `/..` leads out of this process's namespace. A mount may have its root there, which is a level of this process's then.
  private static func path(of group: Substring, under root: Substring) -> Substring? {
    if group.hasPrefix("/..") { return nil }
    if root.hasPrefix("/..") { return "" }
    let isBelow = group == root || group.hasPrefix("\(root)/")
    return root != "/" && isBelow ? group.dropFirst(root.count) : group
  }

  private typealias Mount = (root: Substring, point: Substring, version: Version)

  /// `ID PARENT DEVICE ROOT POINT OPTIONS [FIELDS…] - TYPE SOURCE OPTIONS` (proc(5)).
  private static func mounts(_ text: String) -> [Mount] {
    text.lines.compactMap { line in
      let words = line.split(separator: " ")
      guard let dash = words.firstIndex(of: "-"), dash >= 6, dash + 1 < words.endIndex else {
        return nil
      }
      switch words[dash + 1] {
      case "cgroup2": return (words[3], words[4], .two)
      case "cgroup" where words.last!.split(separator: ",").contains("memory"):
        return (words[3], words[4], .one)
      default: return nil
      }
    }
  }
}
