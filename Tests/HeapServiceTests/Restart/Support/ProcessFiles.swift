import Glibc
import LinuxHeaps

/// Another process's open descriptors, as /proc lists them.
enum ProcessFiles {
  static func count(of process: pid_t) throws -> Int {
    try SmallFile.entries(of: "/proc/\(process)/fd").count
  }

  /// What they are, for a failure's message.
  static func list(of process: pid_t) throws -> [String] {
    try SmallFile.entries(of: "/proc/\(process)/fd").map { number in
      (try? SmallFile.link("/proc/\(process)/fd/\(number)")) ?? "closed by now"
    }.sorted()
  }
}
