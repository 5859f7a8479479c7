internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Closes what clients sent. The last close of a foreign file can block for long in its file system or
/// network: it is done on other threads, one file of a user after the other.
final class CloseQueue: Sendable {
  private let workers: Workers
  private let descriptors: DescriptorBudget
  /// Files that are not closed yet.
  private let open = UserCounts()

  init(_ descriptors: DescriptorBudget) throws(Errno) {
    workers = try Workers()
    self.descriptors = descriptors
  }

  /// Its threads end when all is closed.
  func finish() { workers.finish() }

  func close(_ handles: consuming ReceivedDescriptors, of user: uid_t) {
    let count = handles.count
    if count == 0 { return }
    add(user, count)
    let box = Guarded<ReceivedDescriptors?>(handles)
    workers.run(in: Workers.Lane(0, of: .user(user))) { [self] in
      box.withLock { $0 = nil }
      remove(user, count)
    }
  }

  func close(_ handle: consuming OwnedFD, of user: uid_t) {
    close(ReceivedDescriptors(adopting: [handle.release()]), of: user)
  }

  /// Ends a connection. A socket that is closed with unread messages closes their handles, where it is
  /// closed, and answers ECONNRESET to its peer before the epitaph. After the shutdown no more can come.
  func letGo(of socket: SharedFD, of user: uid_t) {
    _ = shutdown(socket.fd.rawValue, CInt(SHUT_RDWR))
    // What it says does not matter, so all of it may be too long.
    var input = ReceiveBuffer(capacity: 1)
    switch input.receive(socket.fd) {
    case .nothing: return
    case .end: return
    case .message(let handles): close(handles, of: user)
    case .truncated(let handles): close(handles, of: user)
    }
    // There may be hundreds.
    empty(socket, of: user)
  }

  /// Closes what is in a socket to which nothing more can come, message by message.
  private func empty(_ socket: SharedFD, of user: uid_t) {
    add(user, 1)
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
      remove(user, 1)
    }
  }

  private func add(_ user: uid_t, _ count: Int) {
    open.add(user, count)
    descriptors.add(count)
  }

  private func remove(_ user: uid_t, _ count: Int) {
    open.remove(user, count)
    descriptors.remove(count)
  }

  // MARK: Users who send files faster than they close

  /// Milliseconds from one look at them to the next.
  static let pause: UInt64 = 5

  func hasTooMuch(of user: uid_t) -> Bool {
    open.count(of: user) >= min(512, descriptors.limit / 4)
  }

  /// A user who reconnects again and again, with files that do not close, would use up all descriptors.
  var hasTooMuch: Bool { open.total >= descriptors.limit / 2 }
}

/// How many of something each user has; counted from any thread.
final class UserCounts: Sendable {
  private struct State {
    var users: [uid_t: Int] = [:]
    var total = 0
  }

  private let state = Guarded(State())

  func add(_ user: uid_t, _ count: Int = 1) {
    state.withLock { state in
      state.users[user, default: 0] += count
      state.total += count
    }
  }

  func remove(_ user: uid_t, _ count: Int = 1) {
    state.withLock { state in
      let left = state.users[user, default: count] - count
      state.users[user] = left == 0 ? nil : left
      state.total -= count
    }
  }

  func count(of user: uid_t) -> Int { state.withLock { $0.users[user, default: 0] } }

  var total: Int { state.withLock { $0.total } }
}
