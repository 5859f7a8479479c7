internal import Glibc

package import struct SystemPackage.Errno

/// This process's open descriptors, as /proc/self/fd lists them.
package enum OpenDescriptors {
  package static func count() throws(Errno) -> Int {
    guard let directory = unsafe opendir("/proc/self/fd") else { throw Errno(rawValue: errno) }
    defer { unsafe closedir(directory) }
    // Not counted: ".", "..", and the descriptor that reads the directory.
    var count = -3
    while unsafe readdir(directory) != nil { count += 1 }
    return count
  }
}
