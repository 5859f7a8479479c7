internal import CLibrary
internal import LinuxHeaps
internal import Synchronization
internal import SystemPackage

/// The process's limit of open files, and how many are open for clients.
///
/// Counted rather than tried: a message that brings handles must always find room for them, because the
/// kernel throws away what does not fit.
final class DescriptorBudget: Sendable {
  /// Descriptors that this process may have open (`RLIMIT_NOFILE`, getrlimit(2)).
  let limit: Int
  /// With those that are there without clients.
  private let open = Atomic(32)

  /// Raises the limit as far as this process may.
  init() throws(Errno) {
    var limits = rlimit()
    _ = try call { unsafe getrlimit(number(RLIMIT_NOFILE), &limits) }
    if limits.rlim_cur < limits.rlim_max {
      var wanted = rlimit(rlim_cur: limits.rlim_max, rlim_max: limits.rlim_max)
      if unsafe setrlimit(number(RLIMIT_NOFILE), &wanted) == 0 {
        limits = wanted
      }
    }
    limit = Int(clamping: limits.rlim_cur)
  }

  /// Whoever keeps descriptors for a while says so.
  func add(_ count: Int = 1) { open.add(count, ordering: .relaxed) }

  func remove(_ count: Int = 1) { open.subtract(count, ordering: .relaxed) }

  var isHalfUsed: Bool { open.load(ordering: .relaxed) > limit / 2 }

  /// Less is left than one message can bring, and one allocation needs.
  var isUsedUp: Bool { open.load(ordering: .relaxed) + min(320, limit / 2) > limit }

  /// Less is left than the 253 that one message can bring, and what the loop opens meanwhile. Requests are refused before it comes to
  /// this (`isUsedUp`): only files that are to be closed take this room. Where the limit is below 675 it is less than a message can need.
  var lacksRoomForMessage: Bool {
    open.load(ordering: .relaxed) + min(269, limit / 5 * 2) > limit
  }
}
