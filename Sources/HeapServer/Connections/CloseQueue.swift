internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Closes what clients sent. The last close of a foreign file can block for long in its file system or
/// network: it is done on other threads, one file of a user after the other.
final class CloseQueue: Sendable {
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
    workers.run(in: Workers.Lane(0, of: .user(user))) { [self] in
      box.withLock { $0 = nil }
      open.remove(user, count)
    }
  }

  /// Closes what is in a socket to which nothing more can come, message by message.
  func empty(_ socket: SharedFD, of user: uid_t) {
    open.add(user)
    workers.run(in: Workers.Lane(0, of: .user(user))) { [self] in
      var input = ReceiveBuffer(capacity: 1)
      receiving: while true {
        switch input.receive(socket.fd) {
        // Their handles are closed here and now.
        case .message: continue
        case .truncated: continue
        case .nothing: break receiving
        case .end: break receiving
        }
      }
      open.remove(user)
    }
  }

  func close(_ handle: consuming OwnedFD, of user: uid_t) {
    close(ReceivedDescriptors(adopting: [handle.release()]), of: user)
  }
}

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
