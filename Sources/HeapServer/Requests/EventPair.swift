internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// What stands in for one end of an eventpair: its close is seen at the other end.
enum EventPair {
  /// A pipe, or a Unix socket. Anything else could make whoever closes it wait: a file of a file system
  /// in user space, a TCP socket that lingers.
  static func isEnd(_ descriptor: borrowing OwnedFD) -> Bool {
    let number = descriptor.rawValue
    var domain: CInt = 0
    var length = socklen_t(MemoryLayout<CInt>.size)
    if unsafe getsockopt(number, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 {
      return domain == AF_UNIX
    }
    // A path begins with a slash, so no file can be called so.
    return (try? SmallFile.link("/proc/self/fd/\(number)"))?.hasPrefix("pipe:[") == true
  }
}
