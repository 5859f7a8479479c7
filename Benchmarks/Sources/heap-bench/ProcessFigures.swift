internal import typealias Glibc.pid_t

/// What proc(5) tells of a running process.
struct ProcessFigures {
  let pid: pid_t

  /// Nanoseconds on a processor until now, by thread: the first word of `schedstat`.
  func processorTimes() throws(Failure) -> [String: UInt64] {
    try byThread { readText($0 + "/schedstat")?.split(separator: " ").first.flatMap { UInt64($0) } }
  }

  /// Times until now that a processor was given up or taken away, by thread.
  func switches() throws(Failure) -> [String: UInt64] {
    try byThread { thread in
      guard let status = readText(thread + "/status") else { return nil }
      return Self.line("voluntary_ctxt_switches", of: status).flatMap { voluntary in
        Self.line("nonvoluntary_ctxt_switches", of: status).map { voluntary + $0 }
      }
    }
  }

  /// Resident bytes.
  func residentBytes() throws(Failure) -> UInt64 {
    guard let status = readText("/proc/\(pid)/status"),
      let kibibytes = Self.line("VmRSS", of: status)
    else { throw Failure("process \(pid) shows no VmRSS") }
    return kibibytes << 10
  }

  private func byThread(_ read: (String) -> UInt64?) throws(Failure) -> [String: UInt64] {
    var values: [String: UInt64] = [:]
    for task in names(in: "/proc/\(pid)/task") ?? [] {
      values[task] = read("/proc/\(pid)/task/\(task)")
    }
    if values.isEmpty { throw Failure("process \(pid) has ended") }
    return values
  }

  private static func line(_ name: String, of status: String) -> UInt64? {
    for line in status.split(separator: "\n") where line.hasPrefix("\(name):") {
      return UInt64(
        line.dropFirst(name.utf8.count + 1).drop { !$0.isNumber }.prefix { $0.isNumber })
    }
    return nil
  }
}

/// How much the threads' counts grew. A thread that ended is not seen; one that began is,
/// also where it got the number of one that ended.
func growth(from before: [String: UInt64], to after: [String: UInt64]) -> UInt64 {
  after.reduce(0) { sum, thread in
    let earlier = before[thread.key] ?? 0
    return sum + (thread.value >= earlier ? thread.value - earlier : thread.value)
  }
}
