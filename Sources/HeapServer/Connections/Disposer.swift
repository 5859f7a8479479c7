internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Closes what clients sent. The last close of a foreign file can take as long as its file system, or its
/// network, likes: it is done on threads of its own, and a user's files wait behind each other.
final class Disposer: Sendable {
  private let workers: Workers
  /// Files that are not closed yet.
  let open = UserCounts()

  init() throws(Errno) { workers = try Workers() }

  /// Its threads end when all is closed.
  func finish() { workers.finish() }

  func close(_ handles: consuming ReceivedDescriptors, of user: uid_t) {
    let count = handles.count
    if count == 0 { return }
    open.add(user, count)
    let box = Guarded<ReceivedDescriptors?>(handles)
    workers.run(in: Workers.Lane(user)) { [self] in
      box.withLock { $0 = nil }
      open.remove(user, count)
    }
  }

  func close(_ handle: consuming OwnedFD, of user: uid_t) {
    close(ReceivedDescriptors(adopting: [handle.release()]), of: user)
  }
}
