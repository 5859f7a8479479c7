internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Closes what clients sent. The last close of a foreign file can take as long as its file system, or its
/// network, likes: it is done on threads of its own, and a user's files wait behind each other.
final class Disposer: Sendable {
  private let workers: Workers
  private let open = Guarded<[uid_t: Int]>([:])

  init() throws(Errno) { workers = try Workers() }

  func close(_ handles: consuming ReceivedDescriptors, of user: uid_t) {
    let count = handles.count
    if count == 0 { return }
    open.withLock { $0[user, default: 0] += count }
    let box = Guarded<ReceivedDescriptors?>(handles)
    workers.run(in: Workers.Lane(user)) { [self] in
      box.withLock { $0 = nil }
      closed(count, of: user)
    }
  }

  func close(_ handle: consuming OwnedFD, of user: uid_t) {
    close(ReceivedDescriptors(adopting: [handle.release()]), of: user)
  }

  private func closed(_ count: Int, of user: uid_t) {
    open.withLock { open in
      let left = open[user, default: count] - count
      open[user] = left == 0 ? nil : left
    }
  }

  /// Files of a user that are not closed yet.
  func count(of user: uid_t) -> Int { open.withLock { $0[user, default: 0] } }

  var count: Int { open.withLock { $0.values.reduce(0, +) } }
}
