internal import Glibc
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// The service manager's descriptor store (`FileDescriptorStoreMax=`, systemd.service(5)): it holds the
/// parents of live buffers while no server runs.
///
/// One thread tells the manager of all that came since it told the last time, in order, and waits once until that was
/// heard.
final class ParentStore: Sendable {
  private struct Change {
    let name: StoredBufferName
    /// Of a new buffer, which is to be kept; nil for one to let go of.
    let identity: VMOIdentity?
    let whenHeard: @Sendable () -> Void
  }

  private struct State {
    var pending: [Change] = []
    /// The thread is at work, or will be.
    var isRunning = false
  }

  private let state = Guarded(State())
  /// What a silent manager has not heard yet; reached by the one thread alone.
  private let unheard = Guarded<ServiceManager.Barrier?>(nil)
  private let manager: ServiceManager
  private let buffers: LiveBuffers
  private let mailbox: Mailbox
  private let log: Logger
  private let thread: Workers

  init(
    _ manager: ServiceManager, _ buffers: LiveBuffers, _ mailbox: Mailbox, log: Logger
  ) throws(Errno) {
    self.manager = manager
    self.buffers = buffers
    self.mailbox = mailbox
    self.log = log
    thread = try Workers(most: 1)
  }

  /// Its thread ends when all is told.
  func finish() { thread.finish() }

  /// Has the manager keep a copy of a new buffer's parent. The caller holds its only child until `whenHeard` is
  /// called, and nobody else has it before the manager has that copy.
  func keep(
    _ name: StoredBufferName, _ identity: VMOIdentity, whenHeard: @escaping @Sendable () -> Void
  ) {
    add(Change(name: name, identity: identity, whenHeard: whenHeard))
  }

  /// Has the manager let go of its copy; ``Message/dropped(_:)`` tells that it has heard.
  func drop(_ name: StoredBufferName) {
    let mailbox = self.mailbox
    add(Change(name: name, identity: nil) { mailbox.post(.dropped(name.key)) })
  }

  private func add(_ change: Change) {
    let starts = state.withLock { state in
      state.pending.append(change)
      defer { state.isRunning = true }
      return !state.isRunning
    }
    if starts { thread.run(in: Workers.Lane(0, of: .server)) { [self] in while tellPending() {} } }
  }

  /// False when nothing was pending.
  private func tellPending() -> Bool {
    let changes = state.withLock { state in
      defer { state.pending = [] }
      state.isRunning = !state.pending.isEmpty
      return state.pending
    }
    if changes.isEmpty { return false }
    for change in changes {
      let name = change.name.description
      if let identity = change.identity {
        let manager = self.manager
        buffers.withParentDescriptor(identity) { manager.keep($0, as: name) }
      } else {
        manager.drop(name)
      }
    }
    waitUntilHeard()
    for change in changes {
      if let identity = change.identity { settle(identity, change.name.key) }
      change.whenHeard()
    }
    return true
  }

  /// A manager that does not answer costs this wait once, and not once more for each buffer until it does.
  private func waitUntilHeard() {
    unheard.withLock { unheard in
      if let barrier = unheard.take() {
        guard barrier.isHeard(within: 0) else {
          unheard = consume barrier
          return
        }
        log.notice("the service manager answers again")
      }
      guard let barrier = manager.barrier() else { return }
      if barrier.isHeard(within: 5_000) { return }
      log.error("the service manager does not answer")
      unheard = consume barrier
    }
  }

  /// The manager does not say whether it kept its copy; of a dma-buf the kernel's count does, and a copy in
  /// the store must not be taken for a child. Only for now: systemd closes what it does not keep on another
  /// thread, after it was heard.
  private func settle(_ identity: VMOIdentity, _ key: BufferKey) {
    guard buffers.countsReferences(identity) else { return }
    let mailbox = self.mailbox
    buffers.settleCopies(identity, besides: 1) { mailbox.post(.onlyCopies(key)) }
  }
}

/// What a parent is called in the service manager's store: all that the next server has to know of it.
///
/// `b COLLECTION.INDEX USER HEAP`, the numbers in base 36: at most 38 bytes and the heap's name, which
/// is left out where it does not fit or is not ASCII.
///
/// The manager hands over all names in one environment variable, which the kernel limits to 128 KiB
/// (execve(2)); beyond that the service cannot start, and the manager drops the store. Clients choose the
/// numbers. At this length the unit's 2048 fit.
struct StoredBufferName: Hashable, Sendable {
  let key: BufferKey
  let user: uid_t
  let heap: String

  static let longest = 62

  var description: String {
    let start =
      "b \(String(key.bufferCollectionID, radix: 36)).\(String(key.bufferIndex, radix: 36))"
      + " \(String(user, radix: 36)) "
    let isPlain = heap.utf8.allSatisfy { (0x20...0x7e).contains($0) && $0 != UInt8(ascii: ":") }
    return isPlain && start.utf8.count + heap.utf8.count <= Self.longest ? start + heap : start
  }

  init(key: BufferKey, user: uid_t, heap: String) {
    self.key = key
    self.user = user
    self.heap = heap
  }

  /// Nil for a name in another format.
  init?(parsing text: String) {
    let parts = text.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
    guard parts.count == 4, parts[0] == "b",
      let key = BufferKey(parsing: "lh:\(parts[1])"), let user = uid_t(parts[2], radix: 36)
    else { return nil }
    self.init(key: key, user: user, heap: String(parts[3]))
    // One buffer, one spelling: by another the manager could not be told to let go of it.
    guard description == text else { return nil }
  }
}
