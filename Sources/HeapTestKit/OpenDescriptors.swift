internal import LinuxHeaps

package import struct SystemPackage.Errno

/// This process's open descriptors, as /proc/self/fd lists them.
package enum OpenDescriptors {
  package static func count() throws(Errno) -> Int {
    try SmallFile.entries(of: "/proc/self/fd").count { number in
      // Gone: the listing's own. And libdispatch, under Swift's tasks, opens the `stat` of its threads
      // once a second, for a moment (event/workqueue.c).
      guard let target = try? SmallFile.link("/proc/self/fd/\(number)") else { return false }
      return !target.hasSuffix("/stat")
    }
  }
}
