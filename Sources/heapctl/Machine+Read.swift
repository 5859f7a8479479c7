internal import BuildFacts
internal import CLibrary
internal import HeapDoctor
internal import HeapReport
internal import LinuxHeaps

extension Report.Machine {
  /// What this machine tells of itself. No name of it: a report goes to strangers.
  static func read() -> Self {
    let configuration = KernelConfiguration()
    var machine = Self(options: configuration?.reported ?? [:])
    machine.optionsSource = configuration?.path
    machine.kernelVersion = line("/proc/version")
    machine.commandLine = line("/proc/cmdline")
    machine.architecture = readArchitecture()
    machine.model = readModel()
    machine.processor = readProcessor()
    machine.processors = Int(sysconf(CInt(_SC_NPROCESSORS_ONLN)))
    machine.pageBytes = pageSize
    if let memory = try? MachineMemory.read() {
      machine.memoryBytes = memory.total
      machine.availableBytes = memory.available
      machine.contiguousBytes = memory.contiguousTotal
      machine.contiguousFreeBytes = memory.contiguousFree
    }
    machine.distribution = readDistribution()
    machine.user = readUser()
    machine.program = BuildFacts.text(of: "heapctl").split(separator: "\n")
      .joined(separator: ", ")
    return machine
  }

  /// The first line of a file, nil where there is none or it is empty. What the device tree has
  /// ends with a NUL.
  private static func line(_ path: String) -> String? {
    guard let text = try? SmallFile.read(path) else { return nil }
    let line = text.lines[0].prefix { $0 != "\0" }
    return line.isEmpty ? nil : String(line)
  }

  private static func readArchitecture() -> String {
    var names = utsname()
    unsafe uname(&names)
    return unsafe withUnsafeBytes(of: names.machine) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }

  private static func readModel() -> String? {
    if let model = line("/proc/device-tree/model") { return model }
    let words = ["sys_vendor", "product_name"].compactMap { line("/sys/class/dmi/id/\($0)") }
    return words.isEmpty ? nil : words.joined(separator: " ")
  }

  /// arm64 kernels name no processor.
  private static func readProcessor() -> String? {
    let text = (try? SmallFile.read("/proc/cpuinfo", limit: 16 << 10)) ?? ""
    return text.split(separator: "\n").first { $0.hasPrefix("model name") }
      .flatMap { $0.split(separator: ":", maxSplits: 1).last }
      .map { String($0.drop { $0 == " " }) }
  }

  /// os-release(5): a value may stand in quotes.
  private static func readDistribution() -> String? {
    let text = (try? SmallFile.read("/etc/os-release")) ?? ""
    return text.lines.first { $0.hasPrefix("PRETTY_NAME=") }
      .map { $0.dropFirst("PRETTY_NAME=".count).filter { $0 != "\"" && $0 != "'" } }
  }

  /// Numbers, not names: what the kernel decides by, and nobody's business else.
  private static func readUser() -> String {
    var groups = [gid_t](repeating: 0, count: 1024)
    let count = unsafe groups.withUnsafeMutableBufferPointer {
      unsafe getgroups(CInt($0.count), $0.baseAddress!)
    }
    let all = Set(groups.prefix(max(0, Int(count))) + [getegid()]).sorted()
    let list = all.map { "\($0)" }.joined(separator: " ")
    return (geteuid() == 0 ? "root" : "user \(geteuid())") + ", groups \(list)"
  }
}

extension KernelConfiguration {
  private static let names = [
    "ARCH_DMA_ADDR_T_64BIT", "CGROUP_DMEM", "CMA", "CMA_SIZE_MBYTES", "CMA_SYSFS", "COMPACTION",
    "DEBUG_FS", "DMABUF_HEAPS", "DMABUF_HEAPS_CMA", "DMABUF_HEAPS_SYSTEM", "DMABUF_SYSFS_STATS",
    "DMA_CMA", "DRM", "DRM_VGEM", "DRM_VKMS", "FILE_LOCKING", "INOTIFY_USER", "IOMMU_SUPPORT",
    "MEMCG", "MEMFD_CREATE", "PREEMPT", "PREEMPT_RT", "PSI", "SYNC_FILE", "UDMABUF", "VIDEO_DEV",
    "VIDEO_VIVID",
  ]

  /// The options that heaps and their users depend on, as a report has them: without `CONFIG_`, and `n`
  /// for one that is off, which is as true of an option that this kernel does not know.
  fileprivate var reported: [String: String] {
    Dictionary(uniqueKeysWithValues: Self.names.map { ($0, text("CONFIG_\($0)") ?? "n") })
  }
}
