internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// The process's limit of open files, and a spare descriptor for when it is reached.
struct DescriptorHeadroom: ~Copyable {
  /// Descriptors that this process may have open (`RLIMIT_NOFILE`, getrlimit(2)).
  let limit: Int
  private var spare: OwnedFD?

  /// What one message can bring, and what one allocation needs; less where the limit is low.
  var reserve: Int { min(320, limit / 2) }

  /// Raises the limit as far as this process may.
  init() {
    var limits = rlimit()
    unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
    if limits.rlim_cur < limits.rlim_max {
      var wanted = rlimit(rlim_cur: limits.rlim_max, rlim_max: limits.rlim_max)
      if unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &wanted) == 0 {
        limits = wanted
      }
    }
    limit = Int(clamping: limits.rlim_cur)
    spare = Self.open()
  }

  /// Lets `body` have the spare descriptor.
  mutating func withSpare(_ body: () -> Void) {
    spare = nil
    body()
    spare = Self.open()
  }

  private static func open() -> OwnedFD? { try? .open("/dev/null", O_RDONLY) }
}

extension ServerLoop {
  /// Counted rather than tried: a message that brings handles must always find room for them, because
  /// the kernel throws away what does not fit.
  var isOutOfDescriptors: Bool {
    let open =
      32 + heap.descriptorsPerBuffer * ledger.charges.count + connections.count + clients.count
      + unsentHandles + metricsReaders.count + trackers.total + runningAllocations
      + closeQueue.open.total
    return open + headroom.reserve > headroom.limit
  }
}
