internal import LinuxHeaps

/// What is left of the machine's memory, and what of it this process's control groups allow.
enum MemoryExamination {
  /// Two pictures of 1920×1080 XR24.
  private static let least: UInt64 = 16 << 20

  static func findings(_ machine: Machine) -> [Finding] {
    let groups = ControlGroup(machine.files)
    return [available(machine), charging(machine), limit(machine, groups)].compactMap { $0 }
      + deviceLimit(groups)
  }

  private static func available(_ machine: Machine) -> Finding {
    guard let memory = try? MachineMemory.read(machine.files.path(MachineMemory.file)) else {
      return Finding(
        .warning, .memory, "memory.unknown", seen: "/proc/meminfo cannot be read",
        why: "heaps are asked for no more than is available, which this file tells",
        fix: "sudo mount -t proc proc /proc")
    }
    let free = memory.available - min(memory.available, memory.contiguousFree)
    let floor = memory.total / 16
    let seen =
      "\(free.asByteCount) of \(memory.total.asByteCount) are available outside contiguous regions"
    guard free > floor + least else {
      return Finding(
        .broken, .memory, "memory.exhausted", seen: seen,
        why:
          "requests that would leave less than \(floor.asByteCount) of free memory are refused: a kernel's heap would go on until the out-of-memory killer runs",
        fix: "ps -eo rss,pid,comm --sort=-rss | head  # end what is not needed")
    }
    return Finding(
      .ok, .memory, "memory.available", seen: seen,
      why: "requests that would leave less than \(floor.asByteCount) are refused")
  }

  private static func isCharged(_ machine: Machine) -> Bool {
    machine.files.line("/sys/module/dma_heap/parameters/mem_accounting") == "Y"
  }

  private static func charging(_ machine: Machine) -> Finding? {
    guard !machine.heaps.isEmpty else { return nil }
    if isCharged(machine) {
      return Finding(
        .note, .memory, "memory.charged",
        seen:
          "the system heap is charged to the control group of the allocating process (dma_heap.mem_accounting)",
        why: "a service that allocates for others pays for them")
    }
    return Finding(
      .note, .memory, "memory.uncharged",
      seen: "heap memory is charged to no control group: no memory limit applies to it",
      why:
        "any process that may open a heap can exhaust memory, and the out-of-memory killer ends others; heapd has quotas",
      fix: machine.files.exists("/sys/module/dma_heap/parameters/mem_accounting")
        ? Fix.bootParameter("dma_heap.mem_accounting=1", machine.files) : nil)
  }

  private static func limit(_ machine: Machine, _ groups: ControlGroup) -> Finding? {
    guard let limit = groups.memory else { return nil }
    let heapsAreOut = !machine.heaps.contains(where: \.isOpen)
    let counts = isCharged(machine) || heapsAreOut
    let whose = isCharged(machine) ? "heaps, memfd and udmabuf" : "memfd and udmabuf"
    let isTight = limit.left < least
    return Finding(
      isTight && counts ? .broken : .warning, .memory, "cgroup.memory-limit",
      seen:
        "\(limit.path) is \(limit.bytes.asByteCount), of which \(limit.left.asByteCount) are left",
      why: "buffers of \(whose) count: one that goes beyond it has a process of the group killed",
      fix: limit.path.hasSuffix("memory.max")
        ? "echo max | sudo tee \(limit.path)  # or MemoryMax=infinity in the unit, --memory of the container"
        : "echo -1 | sudo tee \(limit.path)  # or --memory of the container")
  }

  private static func deviceLimit(_ groups: ControlGroup) -> [Finding] {
    groups.deviceMemory.map { path, line in
      let region = line.prefix { $0 != " " }
      return Finding(
        .warning, .memory, "cgroup.device-memory-limit", seen: "\(path) limits \(line) bytes",
        why: "a driver that charges this region refuses buffers beyond it",
        fix: "echo '\(region) max' | sudo tee \(path)")
    }
  }
}

/// The control groups of this process, from its own up to the root (cgroups(7)).
private struct ControlGroup {
  struct Limit {
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
    let directories = Self.directories(files, controller: nil)
    let limits =
      directories.compactMap {
        Self.limit(files, $0, "memory.max", "memory.current", cache: "inactive_file")
      }
      + Self.directories(files, controller: "memory").compactMap {
        Self.limit(
          files, $0, "memory.limit_in_bytes", "memory.usage_in_bytes", cache: "total_inactive_file")
      }
    // Version 1 writes no limit as a number near 2^63.
    memory = limits.filter { $0.bytes < total }.min { $0.left < $1.left }
    deviceMemory = directories.map { "\($0)/dmem.max" }.flatMap { path in
      (files.text(path) ?? "").split(separator: "\n").filter { !$0.hasSuffix(" max") }
        .map { (path: path, line: String($0)) }
    }
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
