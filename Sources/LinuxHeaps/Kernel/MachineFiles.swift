internal import CLibrary
package import SystemPackage

/// The files of a machine, under a root directory.
package struct MachineFiles: Sendable {
  /// What stands before each path; empty for the running machine.
  package let root: String

  package init(root: String = "") { self.root = root }

  package func path(_ path: String) -> String { root + path }

  package func text(_ path: String, limit: Int = 64 << 10) -> String? {
    try? SmallFile.read(root + path, limit: limit)
  }

  /// Without the newline at its end.
  package func line(_ path: String) -> String? {
    text(path).map { String($0.lines[0]) }
  }

  package func number(_ path: String) -> UInt64? { line(path).flatMap { UInt64($0) } }

  /// The names in a directory, none where there is no such directory.
  package func entries(_ path: String) -> [String] {
    (try? SmallFile.entries(of: root + path)) ?? []
  }

  /// The kernel's, as `uname -r` shows it; empty where a tree does not tell.
  package var release: String {
    root.isEmpty ? kernelRelease : line("/proc/sys/kernel/osrelease") ?? ""
  }

  /// Whether /proc was mounted with `subset=pid` (Linux 5.8, proc(5)): without meminfo, sys and all else that is no process's.
  package var showsProcessesAlone: Bool {
    exists("/proc/self/stat") && !exists(MachineMemory.file)
  }

  package func exists(_ path: String) -> Bool { unsafe access(root + path, F_OK) == 0 }

  package func hasProgram(_ name: String) -> Bool {
    ["/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"].contains { exists($0 + name) }
  }

  /// Whether a path is a link to what is not there.
  package func isDangling(_ path: String) -> Bool {
    guard (try? SmallFile.link(root + path)) != nil else { return false }
    return unsafe access(root + path, F_OK) != 0 && errno == ENOENT
  }

  /// Whether open(2) works, and what it answers where not.
  package func openingError(_ path: String, _ access: CInt = O_RDONLY) -> Errno? {
    do throws(Errno) {
      _ = try OwnedFD.open(root + path, access | O_NONBLOCK)
      return nil
    } catch {
      return error
    }
  }
}
