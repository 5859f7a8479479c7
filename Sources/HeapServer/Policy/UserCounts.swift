internal import Glibc
internal import LinuxHeaps

/// How many of something each user has; counted from any thread.
final class UserCounts: Sendable {
  private let counts = Guarded<[uid_t: Int]>([:])

  func add(_ user: uid_t, _ count: Int = 1) {
    counts.withLock { $0[user, default: 0] += count }
  }

  func remove(_ user: uid_t, _ count: Int = 1) {
    counts.withLock { counts in
      let left = counts[user, default: count] - count
      counts[user] = left == 0 ? nil : left
    }
  }

  func count(of user: uid_t) -> Int { counts.withLock { $0[user, default: 0] } }

  var total: Int { counts.withLock { $0.values.reduce(0, +) } }
}
