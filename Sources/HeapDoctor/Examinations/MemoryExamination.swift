internal import LinuxHeaps

/// What is left of the machine's memory, and what of it this process's control groups allow.
enum MemoryExamination {
  /// Two pictures of 1920×1080 XR24.
  private static let least: UInt64 = 16 << 20

  static func findings(_ machine: Machine) -> [Finding] {
    let groups = ControlGroup(machine.files)
    return available(machine) + charging(machine) + limit(machine, groups)
      + deviceLimit(groups)
  }

  private static func available(_ machine: Machine) -> [Finding] {
    guard let memory = try? MachineMemory.read(machine.files.path(MachineMemory.file)) else {
      return [
        Finding(
          .warning, .memory, "memory.unknown", seen: "/proc/meminfo cannot be read",
          why: "heaps are asked for no more than is available, and this file tells it",
          fix: "sudo mount -t proc proc /proc")
      ]
    }
    let free = memory.available - min(memory.available, memory.contiguousFree)
    let floor = memory.total / 16
    let seen =
      "\(free.asByteCount) of \(memory.total.asByteCount) are available outside contiguous regions"
    guard free > floor + least else {
      return [
        Finding(
          .broken, .memory, "memory.exhausted", seen: seen,
          why:
            "requests are refused that leave less than \(floor.asByteCount) to the rest of the machine: a kernel's heap would go on until the out-of-memory killer runs",
          fix: "ps -eo rss,pid,comm --sort=-rss | head  # end what is not needed")
      ]
    }
    return [
      Finding(
        .ok, .memory, "memory.available", seen: seen,
        why: "requests are refused that leave less than \(floor.asByteCount)")
    ]
  }

  static func isCharged(_ machine: Machine) -> Bool {
    machine.files.line("/sys/module/dma_heap/parameters/mem_accounting") == "Y"
  }

  private static func charging(_ machine: Machine) -> [Finding] {
    guard !machine.heaps.isEmpty else { return [] }
    if isCharged(machine) {
      return [
        Finding(
          .note, .memory, "memory.charged",
          seen:
            "the system heap is charged to the control group of who allocates (dma_heap.mem_accounting)",
          why: "a service that allocates for others pays for them")
      ]
    }
    return [
      Finding(
        .note, .memory, "memory.uncharged",
        seen: "heap memory is charged to nobody: no limit of a control group holds it back",
        why:
          "who may open a heap can take all memory, and the out-of-memory killer finds no culprit; heapd has quotas",
        fix: machine.files.exists("/sys/module/dma_heap/parameters/mem_accounting")
          ? Fix.bootParameter("dma_heap.mem_accounting=1", machine.files) : nil)
    ]
  }

  private static func limit(_ machine: Machine, _ groups: ControlGroup) -> [Finding] {
    guard let limit = groups.memory else { return [] }
    let heapsAreOut = !machine.heaps.contains(where: \.isOpen)
    let counts = isCharged(machine) || heapsAreOut
    let whose = isCharged(machine) ? "heaps, memfd and udmabuf" : "memfd and udmabuf"
    let isTight = limit.left < least
    return [
      Finding(
        isTight && counts ? .broken : .warning, .memory, "cgroup.memory-limit",
        seen:
          "\(limit.path) is \(limit.bytes.asByteCount), of which \(limit.left.asByteCount) are left",
        why: "buffers of \(whose) count: one that goes beyond it has a process of the group killed",
        fix: limit.path.hasSuffix("memory.max")
          ? "echo max | sudo tee \(limit.path)  # or MemoryMax=infinity in the unit, --memory of the container"
          : "echo -1 | sudo tee \(limit.path)  # or --memory of the container")
    ]
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
