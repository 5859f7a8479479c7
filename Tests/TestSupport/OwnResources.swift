import Glibc
import LinuxHeaps

/// What clients cost this process.
package struct OwnResources: Equatable, CustomStringConvertible {
  private let files: [String]
  private let threads: Int

  /// When so many threads of clients are left, one for each connection, and nothing changes for a while: threads end
  /// after their last call.
  package static func atRest(threads: Int = 0) throws -> OwnResources {
    var last = try OwnResources()
    while true {
      usleep(20_000)
      let now = try OwnResources()
      if now == last && now.threads == threads { return now }
      last = now
    }
  }

  package init() throws {
    // Those of run loops that Foundation started for others come and go.
    files = try ProcessFiles.list(of: getpid()).filter { !$0.hasPrefix("anon_inode:") }
    threads = try SmallFile.entries(of: "/proc/self/task").count { thread in
      (try? SmallFile.read("/proc/self/task/\(thread)/comm")) == "heap-client\n"
    }
  }

  package var description: String { "\(threads) threads of clients, \(files)" }
}
