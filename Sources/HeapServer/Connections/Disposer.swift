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
    workers.run(in: Workers.Lane(0, of: .user(user))) { [self] in
      box.withLock { $0 = nil }
      open.remove(user, count)
    }
  }

  /// Closes what is in a socket to which nothing more can come, message by message.
  func empty(_ socket: SharedFD, of user: uid_t) {
    open.add(user)
    workers.run(in: Workers.Lane(0, of: .user(user))) { [self] in
      var input = ReceiveBuffer()
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
