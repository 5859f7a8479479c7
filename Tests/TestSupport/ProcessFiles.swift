package import Glibc
import HeapTestKit
import LinuxHeaps

/// Another process's open descriptors, as /proc lists them, without what heaps keep open from one buffer
/// to the next.
package enum ProcessFiles {
  /// What they are, sorted, without the numbers of processes and inodes.
  package static func list(of process: pid_t) throws -> [String] {
    try SmallFile.entries(of: "/proc/\(process)/fd").compactMap { number in
      let link = try? SmallFile.link("/proc/\(process)/fd/\(number)")
      if let link, OpenDescriptors.isKept(link) { return nil }
      return link?.filter { !$0.isNumber } ?? "closed by now"
    }.sorted()
  }

  /// When nothing changes for a while. heapd closes a moment after its answer what it sent with it.
  package static func listAtRest(of process: pid_t) throws -> [String] {
    var last = try list(of: process)
    while true {
      usleep(10_000)
      let now = try list(of: process)
      if now == last { return now }
      last = now
    }
  }
}
