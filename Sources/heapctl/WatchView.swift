internal import ArgumentParser
internal import CLibrary
internal import HeapSurvey
internal import LinuxHeaps
internal import SystemPackage

/// What `heapctl watch` shows: the last look at the machine, and which part of it.
struct WatchView {
  /// More than the widest screen shows.
  private static let mostSamples = 400

  private let process: pid_t?
  private var order: BufferOrder
  private(set) var isPaused = false
  private var report: HoldersReport?
  /// Of the machine: buffers, memory, pressure.
  private var head: [String] = []
  /// The bytes of each heap, look by look.
  private var history: [String: [UInt64]] = [:]
  /// The first line below `head` that is shown.
  private var top = 0
  /// How many of those lines the screen had room for.
  private var page = 1

  init(process: pid_t?, order: BufferOrder) {
    self.process = process
    self.order = order
  }

  mutating func look() {
    let report = HoldersReport(BufferSurvey(), heldBy: process)
    let bytes = Dictionary(uniqueKeysWithValues: report.heaps.map { ($0.heap, $0.sizeBytes) })
    // A heap whose last buffer went has its history still.
    for heap in Set(history.keys).union(bytes.keys) {
      let samples = history[heap, default: []].suffix(Self.mostSamples - 1)
      history[heap] = samples + [bytes[heap] ?? 0]
    }
    head = [
      "heapctl watch on Linux \(kernelRelease), \(Self.clockTime())",
      totals(of: report), Self.pressure(),
    ]
    self.report = report
  }

  private func totals(of report: HoldersReport) -> String {
    let bytes = report.heaps.reduce(0 as UInt64) { $0.plus($1.sizeBytes) }
    var text = "\(report.buffers.count.counted("buffer", "buffers")), \(bytes.asByteCount)"
    if let process {
      let isRunning = unsafe access("/proc/\(process)", F_OK) == 0
      text = isRunning ? "of process \(process): \(text)" : "process \(process) has ended"
    }
    if let memory = try? MachineMemory.read() {
      text += "; memory: \(memory.available.asByteCount) of \(memory.total.asByteCount) available"
      if memory.contiguousTotal > 0 {
        text +=
          ", contiguous: \(memory.contiguousFree.asByteCount) of "
          + "\(memory.contiguousTotal.asByteCount) free"
      }
    }
    return text
  }

  private static func pressure() -> String {
    do throws(Errno) {
      var parts: [String] = []
      for resource in Pressure.Resource.allCases {
        let pressure = try Pressure.read(resource)
        var part = "\(resource.rawValue) some \(pressure.some.tenSeconds) \(pressure.some.minute)"
        // The kernel sets the processors' full pressure to 0.
        if let full = pressure.full, resource != .cpu {
          part += ", full \(full.tenSeconds) \(full.minute)"
        }
        parts.append(part)
      }
      return "pressure (% of 10 s, 60 s): " + parts.joined(separator: "; ")
    } catch {
      return "no pressure (\(Pressure.Resource.memory.path): \(error)): "
        + "the kernel needs CONFIG_PSI, and psi=1 on its command line"
    }
  }

  private static func clockTime() -> String {
    var now = time(nil)
    var local = unsafe tm()
    unsafe localtime_r(&now, &local)
    let parts = unsafe [local.tm_hour, local.tm_min, local.tm_sec]
    return parts.map { ($0 < 10 ? "0" : "") + "\($0)" }.joined(separator: ":")
  }

  mutating func press(_ key: Character) {
    switch key {
    case " ": isPaused.toggle()
    case "s": order = order.next
    case "k": top -= 1
    case "j": top += 1
    case "b": top -= page
    case "f": top += page
    default: break
    }
  }

  /// As many lines as the screen has, in printable ASCII, which takes one column for each character everywhere:
  /// what other processes call themselves must not move the cursor.
  mutating func lines(on size: (rows: Int, columns: Int)) -> [String] {
    let heaps = history.sorted { $0.key < $1.key }.map { (heap, samples) -> [String] in
      let most = samples.max() ?? 0
      let last = samples.suffix(max(1, size.columns / 2))
      return [
        heap, (samples.last ?? 0).asByteCount, most.asByteCount,
        bars(last, of: most, levels: Array("_.-:=+*#")),
      ]
    }
    let body =
      table(["HEAP", "BYTES", "MOST", "HISTORY"], heaps) + [""]
      + (report?.lines(sortedBy: order) ?? [])
    page = max(1, size.rows - head.count - 1)
    top = max(0, min(top, body.count - page))
    let help =
      (isPaused ? "PAUSED   space go on" : "q quit   space pause")
      + "   s sort (by \(order.rawValue))   arrows, PgUp, PgDn scroll"
    var lines = Array((head + body.dropFirst(top)).prefix(size.rows - 1))
    lines += Array(repeating: "", count: size.rows - 1 - lines.count) + [help]
    return lines.map { line in
      let scalars = line.visible.unicodeScalars.prefix(size.columns)
      return String(scalars.map { $0.isASCII ? Character($0) : "?" })
    }
  }
}

/// What the buffers are sorted by: figures from the largest down, words from A to Z.
enum BufferOrder: String, CaseIterable, ExpressibleByArgument {
  case heap, size, count, holders, name

  var next: BufferOrder {
    let all = Self.allCases
    return all[((all.firstIndex(of: self) ?? 0) + 1) % all.count]
  }

  /// Of equal ones the larger comes first, so that their order stays from look to look.
  func sorted(_ buffers: [HoldersReport.Buffer]) -> [HoldersReport.Buffer] {
    let buffers = buffers.sorted {
      ($1.sizeBytes ?? 0, $0.inode) < ($0.sizeBytes ?? 0, $1.inode)
    }
    return switch self {
    case .heap: buffers.sorted { $0.heap ?? "?" < $1.heap ?? "?" }
    case .size: buffers
    case .count: buffers.sorted { $0.referenceCount ?? 0 > $1.referenceCount ?? 0 }
    case .holders: buffers.sorted { $0.holders.count > $1.holders.count }
    case .name: buffers.sorted { $0.name ?? "" < $1.name ?? "" }
    }
  }
}
