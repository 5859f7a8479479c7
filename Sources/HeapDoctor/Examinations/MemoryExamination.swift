internal import LinuxHeaps

/// What is left of the machine's memory, and what of it this process's control groups allow.
enum MemoryExamination {
  /// Two pictures of 1920×1080 XR24.
  private static let least: UInt64 = 16 << 20

  static func findings(_ machine: Machine) -> [Finding] {
    let groups = ControlGroup(root: machine.files.root)
    return [available(machine), charging(machine), limit(machine, groups)].compactMap { $0 }
      + deviceLimits(machine, groups)
  }

  private static func available(_ machine: Machine) -> Finding {
    guard let memory = try? MachineMemory.read(machine.files.path(MachineMemory.file)) else {
      let isPart = machine.files.showsProcessesAlone
      return Finding(
        .warning, .memory, "memory.unknown",
        seen: "/proc/meminfo cannot be read"
          + (isPart ? ": this /proc shows processes alone (subset=pid)" : ""),
        why: "heaps are asked for no more than is available, which this file tells",
        fix: isPart ? Surroundings.wholeProc : "sudo mount -t proc proc /proc")
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

  private static func charging(_ machine: Machine) -> Finding? {
    guard !machine.heaps.isEmpty else { return nil }
    if machine.chargesSystemHeap {
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
        ? BootParameter.fix("dma_heap.mem_accounting=1", machine) : nil)
  }

  private static func limit(_ machine: Machine, _ groups: ControlGroup) -> Finding? {
    let total = (try? MachineMemory.read(machine.files.path(MachineMemory.file)))?.total ?? .max
    let limits = ((try? groups.limits()) ?? []).filter { $0.bytes < total }
    guard let limit = limits.min(by: { $0.available < $1.available }) else { return nil }
    let path = "\(limit.directory)/\(limit.file)"
    let heapsAreOut = !machine.heaps.contains(where: \.isOpen)
    let counts = machine.chargesSystemHeap || heapsAreOut
    let whose = machine.chargesSystemHeap ? "heaps, memfd and udmabuf" : "memfd and udmabuf"
    let isTight = limit.available < least
    return Finding(
      isTight && counts ? .broken : .warning, .memory, "cgroup.memory-limit",
      seen: "\(path) is \(limit.bytes.asByteCount), of which \(limit.left.asByteCount) are left",
      why:
        "buffers of \(whose) count: requests that would leave less than \(limit.margin.asByteCount) are refused",
      fix: machine.surroundings.memoryLimit(of: limit.directory)
        ?? (limit.file == "memory.limit_in_bytes"
          ? "echo -1 | sudo tee \(path)  # or --memory of the container"
          : "echo max | sudo tee \(path)  # or MemoryMax=infinity in the unit, --memory of the container")
    )
  }

  /// `REGION LIMIT` of the dmem controller (Linux 6.14).
  private static func deviceLimits(_ machine: Machine, _ groups: ControlGroup) -> [Finding] {
    ((try? groups.directories()) ?? []).flatMap { directory in
      let path = "\(directory)/dmem.max"
      return (machine.files.text(path) ?? "").split(separator: "\n").filter {
        !$0.hasSuffix(" max")
      }
      .map { line in
        let region = line.prefix { $0 != " " }
        return Finding(
          .warning, .memory, "cgroup.device-memory-limit", seen: "\(path) limits \(line) bytes",
          why: "a driver that charges this region refuses buffers beyond it",
          fix: machine.surroundings.memoryLimit(of: directory) == nil
            ? "echo '\(region) max' | sudo tee \(path)"
            : "echo '\(region) max' | sudo tee /sys/fs/cgroup/GROUP/dmem.max  # on the host, where GROUP is the container's"
        )
      }
    }
  }
}
