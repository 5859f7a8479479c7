internal import LinuxHeaps

/// The kernel's version and options, and the heaps that it registered.
enum KernelExamination {
  static func findings(_ machine: Machine) -> [Finding] {
    if let absence = absence(machine) { return [absence] }
    guard let configuration = machine.configuration else {
      return [
        Finding(
          .note, .kernel, "kernel.configuration-unknown",
          seen: "Linux \(machine.release.text) has heaps, and shows its options nowhere",
          why: "what it was built without can only be told from what is missing",
          fix: "sudo modprobe configs  # where CONFIG_IKCONFIG=m: it brings /proc/config.gz")
      ]
    }
    let kinds = [
      ("CONFIG_DMABUF_HEAPS_SYSTEM", "system"), ("CONFIG_DMABUF_HEAPS_CMA", "contiguous"),
    ]
    .filter { configuration[$0.0] != .off }.map(\.1)
    var findings = [
      Finding(
        .ok, .kernel, "kernel.heaps",
        seen: "Linux \(machine.release.text) was built with heaps: "
          + (kinds.isEmpty ? "of its vendor" : kinds.joined(separator: ", "))
          + " (\(configuration.path))",
        why: "each kind of memory is an option of its own")
    ]
    if machine.closedDirectory == nil,
      !machine.heaps.contains(where: { $0.entry?.role == .system || $0.name == "system" })
    {
      findings.append(withoutSystemHeap(configuration, machine))
    }
    return findings
  }

  private static func withoutSystemHeap(
    _ configuration: KernelConfiguration, _ machine: Machine
  ) -> Finding {
    let why = "buffers that need not be contiguous have no heap of their own"
    switch configuration["CONFIG_DMABUF_HEAPS_SYSTEM"] {
    case .off:
      return Finding(
        .warning, .kernel, "kernel.no-system-heap",
        seen: "the kernel was built without CONFIG_DMABUF_HEAPS_SYSTEM", why: why,
        fix: Fix.kernelOptions(["DMABUF_HEAPS_SYSTEM"], machine))
    case .module: return moduleMissing(.systemHeap, machine, why: why)
    case .builtIn:
      return Finding(
        .warning, .kernel, "kernel.no-system-heap",
        seen: "CONFIG_DMABUF_HEAPS_SYSTEM is built in, and there is no heap named system", why: why,
        fix: "sudo dmesg | grep -i heap  # what the kernel said when it started")
    }
  }

  /// Why the kernel has no heap at all, nil where it has one.
  private static func absence(_ machine: Machine) -> Finding? {
    guard machine.heaps.isEmpty, machine.closedDirectory == nil else { return nil }
    let release = machine.release.text
    let others = [
      (UDMABufHeap.name, "udmabuf makes dma-bufs of ordinary pages"),
      (MemfdHeap.name, "memfd serves where no device imports"),
    ].filter {
      ($0.0 == MemfdHeap.name || machine.files.exists(UDMABufExamination.path))
        && machine.failure(of: $0.0) == nil
    }
    let ways = others.map(\.1).joined(separator: ", and ")
    let options = others.map { "--heap \($0.0)" }.joined(separator: ", ")
    let serves =
      "no dma-buf can be had from a heap"
      + (others.isEmpty ? "" : "; meanwhile \(ways): \(options)")
    let host =
      machine.container.map { "; this is a container (\($0)): the kernel is its host's" } ?? ""
    if machine.release.isBefore(5, 6) {
      return Finding(
        .broken, .kernel, "kernel.too-old",
        seen: "Linux \(release) has no heaps: they came with Linux 5.6\(host)", why: serves,
        fix: "boot Linux 5.6 or later: a newer kernel of the distribution or of the board's vendor")
    }
    let modules = [KernelModule.systemHeap, .contiguousHeap]
    if let configuration = machine.configuration, configuration["CONFIG_DMABUF_HEAPS"] == .off {
      return Finding(
        .broken, .kernel, "kernel.heaps-off",
        seen:
          "Linux \(release) was built without CONFIG_DMABUF_HEAPS (\(configuration.path))\(host)",
        why: serves,
        fix: Fix.kernelOptions(
          ["DMABUF_HEAPS", "DMABUF_HEAPS_SYSTEM", "DMABUF_HEAPS_CMA"], machine))
    }
    if let configuration = machine.configuration,
      modules.allSatisfy({ configuration[$0.option] == .off })
    {
      return Finding(
        .broken, .kernel, "kernel.no-heap-option",
        seen: "CONFIG_DMABUF_HEAPS is on, and no kind of heap is (\(configuration.path))\(host)",
        why: serves, fix: Fix.kernelOptions(["DMABUF_HEAPS_SYSTEM", "DMABUF_HEAPS_CMA"], machine))
    }
    if !machine.files.exists("/sys/class") {
      return Finding(
        .broken, .kernel, "kernel.no-sysfs",
        seen: "no heap has a node, and sysfs, which would tell why, is not mounted\(host)",
        why: serves, fix: "sudo mount -t sysfs sysfs /sys")
    }
    guard let configuration = machine.configuration else {
      return Finding(
        .broken, .kernel, "kernel.no-heap",
        seen: "Linux \(release) has no heap, and shows its options nowhere\(host)", why: serves,
        fix: Fix.kernelOptions(
          ["DMABUF_HEAPS", "DMABUF_HEAPS_SYSTEM", "DMABUF_HEAPS_CMA"], machine))
    }
    if let module = modules.first(where: { configuration[$0.option] == .module }) {
      return moduleMissing(module, machine, why: serves)
    }
    return Finding(
      .broken, .kernel, "kernel.no-heap",
      seen: "heaps are built in (\(configuration.path)), and none was registered\(host)",
      why: serves,
      fix: "sudo dmesg | grep -iE 'heap|cma'  # what the kernel said when it started")
  }

  private static func moduleMissing(
    _ module: KernelModule, _ machine: Machine, why: String
  ) -> Finding {
    Finding(
      .broken, .kernel, "kernel.module-not-loaded",
      seen: "the heap is a module (\(module.option)=m), and \(module.name) is not loaded",
      why: why, fix: Fix.load(module, machine))
  }
}
