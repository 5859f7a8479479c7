package import Glibc
import HeapTestKit
import LinuxHeaps

/// Another process's open descriptors, as /proc lists them, without what heaps keep open from one buffer
/// to the next.
package enum ProcessFiles {
  /// Of one that was closed while they were listed.
  static let closedByNow = "closed by now"

  /// What they are, sorted, without the numbers of processes and inodes.
  package static func list(of process: pid_t) throws -> [String] {
    try SmallFile.entries(of: "/proc/\(process)/fd").compactMap { number in
      let link = try? SmallFile.link("/proc/\(process)/fd/\(number)")
      if let link, OpenDescriptors.isKept(link) { return nil }
      return link?.filter { !$0.isNumber } ?? closedByNow
    }.sorted()
  }

  /// A report, or a file that was closed while files were listed.
  static func isPassing(_ file: String) -> Bool {
    file.hasPrefix("/memfd:heapd:status") || file == closedByNow
  }

  /// What is open that was not before. What others had open before may be closed meanwhile.
  package static func opened(by process: pid_t, since before: [String]) throws -> [String] {
    var rest = before
    return try list(of: process).filter { file in
      guard let index = rest.firstIndex(of: file) else { return true }
      rest.remove(at: index)
      return false
    }
  }

  /// When nothing changes for a while, and no report is open: heapd closes a moment later what it sent with an answer, and lets closers go a
  /// second after they were at work.
  package static func listAtRest(of process: pid_t) throws -> [String] {
    var last = try list(of: process)
    var since = ContinuousClock.now
    while true {
      usleep(10_000)
      let now = try list(of: process)
      if now != last || now.contains(where: isPassing) {
        (last, since) = (now, .now)
      } else if .now - since > .milliseconds(1_500) {
        return now
      }
    }
  }
}
