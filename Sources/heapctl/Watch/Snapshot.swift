internal import Glibc
internal import HeapSurvey
internal import LinuxHeaps
internal import SystemPackage

/// One look at the machine.
struct Snapshot {
  struct Heap {
    let name: String
    var buffers = 0
    var bytes: UInt64 = 0
    /// Of a contiguous region, as far as the kernel tells.
    var free: UInt64?
    var capacity: UInt64?
  }

  /// The one process whose buffers alone are told.
  enum Process: Equatable {
    case running(pid_t), ended(pid_t)
  }

  let report: HoldersReport
  /// Nil where all buffers are told.
  let process: Process?
  /// The kernel's, and those that have buffers; by name.
  let heaps: [Heap]
  let memory: MachineMemory?
  let pressure: [Pressure.Resource: Result<Pressure, Errno>]
  /// Of the clock on the wall.
  let time: String

  init(
    report: HoldersReport, process: Process? = nil, heaps: [Heap], memory: MachineMemory?,
    pressure: [Pressure.Resource: Result<Pressure, Errno>], time: String
  ) {
    self.report = report
    self.process = process
    self.memory = memory
    self.pressure = pressure
    self.time = time
    var found: [String: Heap] = [:]
    for heap in heaps { found[heap.name] = heap }
    for total in report.heaps {
      found[total.heap, default: Heap(name: total.heap)].buffers = total.buffers
      found[total.heap]?.bytes = total.sizeBytes
    }
    self.heaps = found.values.sorted { $0.name < $1.name }
  }

  static func take(heldBy process: pid_t?) -> Snapshot {
    Snapshot(
      report: HoldersReport(BufferSurvey(), heldBy: process),
      process: process.map { unsafe access("/proc/\($0)", F_OK) == 0 ? .running($0) : .ended($0) },
      heaps: HeapCatalog().heaps().map {
        Heap(name: $0.name, free: $0.free, capacity: $0.capacity)
      },
      memory: try? MachineMemory.read(),
      pressure: Dictionary(
        uniqueKeysWithValues: Pressure.Resource.allCases.map { resource in
          (resource, Result { () throws(Errno) in try Pressure.read(resource) })
        }),
      time: clockTime())
  }

  private static func clockTime() -> String {
    var now = Glibc.time(nil)
    var local = unsafe tm()
    unsafe localtime_r(&now, &local)
    let parts = unsafe [local.tm_hour, local.tm_min, local.tm_sec]
    return parts.map { ($0 < 10 ? "0" : "") + "\($0)" }.joined(separator: ":")
  }
}
