import Glibc
import LinuxHeaps

/// Another process's open descriptors, as /proc lists them.
enum ProcessFiles {
  static func count(of process: pid_t) throws -> Int {
    try SmallFile.entries(of: "/proc/\(process)/fd").count
  }

  /// What they are, sorted, without the numbers of processes and inodes.
  static func list(of process: pid_t) throws -> [String] {
    try SmallFile.entries(of: "/proc/\(process)/fd").map { number in
      let link = try? SmallFile.link("/proc/\(process)/fd/\(number)")
      return link?.filter { !$0.isNumber } ?? "closed by now"
    }.sorted()
  }
}
