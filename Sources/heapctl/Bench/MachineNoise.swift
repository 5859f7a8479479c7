internal import Glibc
internal import LinuxHeaps

/// What else the machine did while times were taken.
struct MachineNoise {
  private let steal: UInt64
  private let total: UInt64

  init() {
    // "cpu  user nice system idle iowait irq softirq steal guest guest_nice" (proc(5)); guest time is
    // part of user time.
    let text = (try? SmallFile.read("/proc/stat")) ?? ""
    let line = text.prefix { $0 != "\n" }
    let fields = line.split(separator: " ").dropFirst().prefix(8).compactMap { UInt64($0) }
    steal = fields.count == 8 ? fields[7] : 0
    total = fields.reduce(0, +)
  }

  /// Reasons to doubt times that were taken since this value was made.
  func warnings() -> [String] {
    let now = MachineNoise()
    var warnings: [String] = []
    let passed = now.total - min(total, now.total)
    let stolen = now.steal - min(steal, now.steal)
    if passed > 0, stolen * 100 > passed {
      warnings.append("\(stolen * 100 / passed) % of the processors' time went to other guests")
    }
    let load = ((try? SmallFile.read("/proc/loadavg")) ?? "").split(separator: " ").first
    let processors = sysconf(CInt(_SC_NPROCESSORS_ONLN))
    if let load, let value = Double(load), value > Double(processors) {
      warnings.append("the load is \(load) on \(processors.counted("processor", "processors"))")
    }
    return warnings
  }
}
