internal import CLibrary
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// The service manager's descriptor store (`FileDescriptorStoreMax=`, systemd.service(5)): it holds the
/// parents of live buffers while no server runs.
///
/// One thread tells the manager of all that came since it told the last time, in order, and waits once until that was
/// heard.
final class ParentStore: Sendable {
  private enum Change {
    case keep(StoredBufferName, Allocation)
    /// The place is nil where nobody waits for it.
    case drop(StoredBufferName, place: Int?)
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
  private let mailbox: Mailbox
  private let log: Logger
  private let thread: Workers

  /// How many descriptors the manager keeps.
  var room: Int { manager.storeRoom }

  init(
    _ manager: ServiceManager, _ mailbox: Mailbox, log: Logger
  ) throws(Errno) {
    self.manager = manager
    self.mailbox = mailbox
    self.log = log
    thread = try Workers(most: 1)
  }

  /// Its thread ends when all is told.
  func finish() { thread.finish() }

  /// Has the manager keep a copy of a new buffer's parent; ``Message/allocated(_:)`` tells that it has heard. There
  /// is no child before that.
  func keep(_ name: StoredBufferName, _ allocation: Allocation) { add(.keep(name, allocation)) }

  /// Has the manager let go of its copy; ``Message/dropped(_:)`` tells that it has heard.
  func drop(_ name: StoredBufferName, at place: Int?) { add(.drop(name, place: place)) }

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
      switch change {
      case .keep(let name, let allocation):
        allocation.withParent { manager.keep($0.descriptor, as: name.description) }
      case .drop(let name, _): manager.drop(name.description)
      }
    }
    waitUntilHeard()
    for change in changes {
      switch change {
      case .keep(_, let allocation):
        allocation.countCopies()
        mailbox.post(.allocated(allocation))
      case .drop(_, let place): if let place { mailbox.post(.dropped(place)) }
      }
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
