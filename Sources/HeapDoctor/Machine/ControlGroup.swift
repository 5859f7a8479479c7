internal import LinuxHeaps

/// The control groups of this process, from its own up to the root (cgroups(7)).
struct ControlGroup: Sendable {
  struct Limit: Equatable, Sendable {
    /// The file that has it.
    let path: String
    let bytes: UInt64
    let used: UInt64
    /// What the next `bytes` may take: pages of files count as used, and are given up first.
    var left: UInt64 { bytes - min(bytes, used) }
  }

  /// The tightest limit on memory; nil where there is none.
  let memory: Limit?
  /// `REGION LIMIT` of the dmem controller (Linux 6.14), with the file that has it.
  let deviceMemory: [(path: String, line: String)]

  init(_ files: MachineFiles) {
    let total = (try? MachineMemory.read(files.path(MachineMemory.file)))?.total ?? .max
    var limits: [Limit] = []
    var device: [(path: String, line: String)] = []
    for directory in Self.directories(files, controller: nil) {
      if let limit = Self.limit(
        files, directory, "memory.max", "memory.current", cache: "inactive_file")
      {
        limits.append(limit)
      }
      let lines = files.text("\(directory)/dmem.max") ?? ""
      for line in lines.split(separator: "\n") where !line.hasSuffix(" max") {
        device.append(("\(directory)/dmem.max", String(line)))
      }
    }
    for directory in Self.directories(files, controller: "memory") {
      if let limit = Self.limit(
        files, directory, "memory.limit_in_bytes", "memory.usage_in_bytes",
        cache: "total_inactive_file")
      {
        limits.append(limit)
      }
    }
    // Version 1 writes no limit as a number near 2^63.
    memory = limits.filter { $0.bytes < total }.min { $0.left < $1.left }
    deviceMemory = device
  }

  private static func limit(
    _ files: MachineFiles, _ directory: String, _ limit: String, _ usage: String, cache: String
  ) -> Limit? {
    let path = "\(directory)/\(limit)"
    guard let bytes = files.number(path) else { return nil }
    let used = files.number("\(directory)/\(usage)") ?? 0
    let statistics = files.text("\(directory)/memory.stat") ?? ""
    let cached =
      statistics.split(separator: "\n").first { $0.hasPrefix("\(cache) ") }
      .flatMap { UInt64($0.dropFirst(cache.count + 1)) } ?? 0
    return Limit(path: path, bytes: bytes, used: used - min(used, cached))
  }

  /// Own group first, the root last. `controller` nil is version 2.
  private static func directories(_ files: MachineFiles, controller: String?) -> [String] {
    guard let group = group(files, controller), let mount = mount(files, controller) else {
      return []
    }
    // A container's mount may show only its own part of the tree.
    var path = group
    if mount.root != "/", path.hasPrefix(mount.root) { path.removeFirst(mount.root.count) }
    if !files.exists(mount.point + path) { path = "" }
    var directories: [String] = []
    while true {
      while path.hasSuffix("/") { path.removeLast() }
      directories.append(mount.point + path)
      guard let slash = path.lastIndex(of: "/") else { return directories }
      path = String(path[..<slash])
    }
  }

  /// `HIERARCHY:CONTROLLERS:PATH`; version 2 has neither of the first two.
  private static func group(_ files: MachineFiles, _ controller: String?) -> String? {
    for line in (files.text("/proc/self/cgroup") ?? "").split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      if controller.map({ fields[1].split(separator: ",").contains(Substring($0)) })
        ?? fields[1].isEmpty
      {
        return String(fields[2])
      }
    }
    return nil
  }

  /// Where the hierarchy is mounted, and which of its groups is that mount's root (proc(5)).
  private static func mount(
    _ files: MachineFiles, _ controller: String?
  ) -> (root: String, point: String)? {
    for line in (files.text("/proc/self/mountinfo", limit: 1 << 20) ?? "").split(separator: "\n") {
      // Optional fields stand before the dash.
      let words = line.split(separator: " ")
      guard words.count >= 5, let dash = words.firstIndex(of: "-") else { continue }
      let source = words[(dash + 1)...]
      guard let type = source.first else { continue }
      let options = (source.count > 2 ? source.last! : "").split(separator: ",")
      if controller.map({ type == "cgroup" && options.contains(Substring($0)) })
        ?? (type == "cgroup2")
      {
        return (String(words[3]), String(words[4]))
      }
    }
    return nil
  }
}
