internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// Has closers close what clients sent, and their sockets (`CloserPool`).
///
/// The last close of a file can wait for as long as whoever made it likes, and not every such wait ends with a signal: a pipe's end waits
/// for the pipe's lock, which a splice(2) from an empty socket holds (`pipe_release`, fs/pipe.c). A thread in it would keep this
/// process from ending. So the last close is never one of this process's while it runs.
final class Disposer: Sendable {
  private let inbox: CloserPool.Inbox
  private let descriptors: DescriptorBudget
  /// Files and sockets that are not closed yet.
  private let open: UserCounts

  init(_ descriptors: DescriptorBudget, _ source: CloserSource) throws(Errno) {
    let inbox = try CloserPool.Inbox()
    let open = UserCounts()
    self.inbox = inbox
    self.open = open
    self.descriptors = descriptors
    let closer = try source.make()
    inbox.post { $0.closers.append(closer) }
    let files = try Workers(most: 32)
    // Who has work done would otherwise do it where no thread can be had.
    try files.startThread()
    do throws(Errno) {
      try KernelThread.start("heap-disposer") {
        CloserPool(inbox, source, files, descriptors, open).run()
        files.finish()
      }
    } catch {
      files.finish()
      throw error
    }
  }

  deinit { inbox.post { $0.isOver = true } }

  /// Hands all that is not closed yet to closers, within a second, so that this process can end.
  func finish() { inbox.finish() }

  func close(_ numbers: ArraySlice<CInt>, of user: uid_t) { close(numbers, .file, of: user) }

  /// A connection's socket.
  ///
  /// - Parameter hasReader: Whether its client may still read what was sent to it.
  func close(connection number: CInt, of user: uid_t, hasReader: Bool) {
    close([number], hasReader ? .drainedSocket : .socket, of: user)
  }

  private func close(_ numbers: ArraySlice<CInt>, _ kind: CloserPool.Kind, of user: uid_t) {
    open.add(user, numbers.count)
    descriptors.add(numbers.count)
    inbox.post { $0.disposals.append((numbers, kind, user)) }
  }

  /// Descriptors that are not closed yet.
  var unclosed: Int { open.total }

  func count(of user: uid_t) -> Int { open.count(of: user) }

  // MARK: Users who send files faster than they close

  /// Milliseconds from one look at them to the next.
  static let pause: UInt64 = 5

  /// Nothing more of the user's is received then, and no connection of its accepted.
  func hasTooMuch(of user: uid_t) -> Bool {
    open.count(of: user) >= min(512, descriptors.limit / 8)
  }

  /// Sockets come faster than the thread takes them. That waits for no client, so that to wait for it delays who comes next, and
  /// does not keep it out.
  var isBehind: Bool { inbox.sockets >= min(256, descriptors.limit / 8) }
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
