internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import Synchronization
internal import SystemPackage

/// Closes what clients sent, and their sockets, on threads of its own.
///
/// The last close of a file can wait for as long as its file system or network does. A file that came in a message is
/// flushed as its descriptor is closed, and no signal ends that (fuse_flush, fs/fuse/file.c): a user's go one after another,
/// and take one thread. A file that is still on its way when its socket is closed is not flushed, and what else waits in
/// its close, as a TCP socket that lingers does (sk_stream_wait_close, net/core/stream.c), a signal ends: so sockets are
/// always closed soon, whatever is in them.
final class Disposer: Sendable {
  private let files: Workers
  private let sockets: Workers
  private let descriptors: DescriptorBudget
  /// Files and sockets that are not closed yet.
  private let open = UserCounts()
  private let openSockets = Atomic(0)

  init(_ descriptors: DescriptorBudget) throws(Errno) {
    files = try Workers(most: 32)
    sockets = try Workers()
    self.descriptors = descriptors
  }

  /// Its threads end when all is closed.
  func finish() {
    files.finish()
    sockets.finish()
  }

  func close(_ numbers: ArraySlice<CInt>, of user: uid_t) {
    let count = numbers.count
    add(user, count)
    files.run(in: Workers.Lane(0, of: .user(user))) { [self] in
      for number in numbers { _ = CLibrary.close(number) }
      remove(user, count)
    }
  }

  /// A connection's socket.
  ///
  /// - Parameter hasReader: Whether its client may still read what was sent to it.
  func close(connection number: CInt, of user: uid_t, hasReader: Bool) {
    add(user, 1)
    openSockets.add(1, ordering: .relaxed)
    sockets.run(in: Workers.Lane(0, of: .user(user))) { [self] in
      CLinuxHeaps_close_connection(number, hasReader)
      openSockets.subtract(1, ordering: .relaxed)
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

  /// Descriptors that are not closed yet.
  var unclosed: Int { open.total }

  func count(of user: uid_t) -> Int { open.count(of: user) }

  // MARK: Users who send files faster than they close

  /// Milliseconds from one look at them to the next.
  static let pause: UInt64 = 5

  /// Nothing more of the user's is received then.
  func hasTooMuch(of user: uid_t) -> Bool {
    open.count(of: user) >= min(512, descriptors.limit / 8)
  }

  /// Sockets come faster than they are closed. That they are is certain, so that to wait for it delays who comes next, and
  /// does not keep it out.
  var hasTooManySockets: Bool {
    openSockets.load(ordering: .relaxed) >= min(256, descriptors.limit / 8)
  }
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
