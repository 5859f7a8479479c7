internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import SystemPackage

/// Waits for many descriptors at once (epoll(7), level-triggered where nothing else is said).
@safe final class Poller {
  struct Event {
    let source: EventSource
    let isReadable: Bool
    let isWritable: Bool
    /// The other end is closed, or the descriptor has an error.
    let isHungUp: Bool
  }

  private let fd: OwnedFD
  private let events = UnsafeMutableBufferPointer<epoll_event>.allocate(capacity: 64)

  init() throws(Errno) {
    fd = OwnedFD(adopting: try call { epoll_create1(CInt(EPOLL_CLOEXEC)) })
  }

  deinit { unsafe events.deallocate() }

  /// - Parameter onChange: Whether it is reported only when more has come (`EPOLLET`), and not as long as there is
  ///   something to read.
  func add(_ descriptor: CInt, _ source: EventSource, onChange: Bool = false) throws(Errno) {
    try control(
      EPOLL_CTL_ADD, descriptor, source, bits(EPOLLIN) | (onChange ? bits(EPOLLET) : 0))
  }

  func change(_ descriptor: CInt, _ source: EventSource, reading: Bool, writing: Bool) {
    // It was added before, so there is nothing that could fail.
    try? control(
      EPOLL_CTL_MOD, descriptor, source,
      (reading ? bits(EPOLLIN) : 0) | (writing ? bits(EPOLLOUT) : 0))
  }

  func remove(_ descriptor: CInt) {
    var event = unsafe epoll_event()
    _ = unsafe epoll_ctl(fd.rawValue, EPOLL_CTL_DEL, descriptor, &event)
  }

  private func control(
    _ operation: CInt, _ descriptor: CInt, _ source: EventSource, _ events: UInt32
  ) throws(Errno) {
    let poller = fd.rawValue
    var event = unsafe epoll_event(events: events, data: epoll_data_t(u64: source.rawValue))
    _ = try call { unsafe epoll_ctl(poller, operation, descriptor, &event) }
  }

  /// - Parameter until: Nil for no limit.
  /// - Returns: How many events there are now, each at an index from 0.
  func wait(until: MonotonicTime?) -> Int {
    let milliseconds = until?.millisecondsFromNow ?? -1
    let count = unsafe epoll_wait(
      fd.rawValue, events.baseAddress!, CInt(events.count), milliseconds)
    return max(Int(count), 0)
  }

  subscript(index: Int) -> Event {
    let event = unsafe events[index]
    let flags = unsafe event.events
    return Event(
      source: EventSource(rawValue: unsafe event.data.u64),
      isReadable: flags & bits(EPOLLIN) != 0,
      isWritable: flags & bits(EPOLLOUT) != 0,
      isHungUp: flags & (bits(EPOLLHUP) | bits(EPOLLERR)) != 0)
  }
}

/// The kind of an event's source, and an ID where there are several of a kind.
struct EventSource: RawRepresentable {
  enum Kind: UInt64 {
    case mailbox, closes, dmaBufCloses, heapListener, observerListener, metricsListener
    case connection, process, metricsReader, signal
  }

  let rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(_ kind: Kind, _ id: UInt64 = 0) { rawValue = id << 4 | kind.rawValue }

  // Made of a kind, so there is one.
  var kind: Kind { Kind(rawValue: rawValue & 15)! }
  var id: UInt64 { rawValue >> 4 }
}

/// What a moment may be for.
enum Deadline: Hashable {
  /// A client has not read what was sent to it.
  case stall(connection: UInt64)
  /// Look for answers that lie unread.
  case unread
  /// Check again whether the files that a client's user sent are closed.
  case heldUp(connection: UInt64)
  /// The same, while no connection is accepted.
  case heldUpListeners
  /// A deleted buffer is still held.
  case deletion(BufferKey)
  /// No buffer has come for a while.
  case unusedFiles
  /// Lines of clients were left out of the log.
  case leftOut
  case watchdog
  /// The manager's socket had no room.
  case manager
  /// A metrics reader takes too long.
  case metricsReader(UInt64)
  /// A graceful stop ends, whatever is left.
  case stop
}

/// Timers that are not cancelled yet.
final class Deadlines {
  private var moments: [Deadline: MonotonicTime] = [:]

  /// No deadline is earlier.
  private var earliest: MonotonicTime?
  /// Whether the one it belonged to was cancelled or put off.
  private var isLoose = false

  /// When the loop must turn. Among few it is searched for, so that a server at rest does not wake for what was cancelled; among many a
  /// turn for nothing costs less.
  var next: MonotonicTime? {
    if isLoose && moments.count <= 64 { findEarliest() }
    return earliest
  }

  private func findEarliest() {
    earliest = moments.values.min()
    isLoose = false
  }

  func set(_ deadline: Deadline, after milliseconds: UInt64) {
    let moment = MonotonicTime(
      nanoseconds: MonotonicTime.now.nanoseconds + milliseconds * 1_000_000)
    if let before = moments.updateValue(moment, forKey: deadline), before == earliest {
      isLoose = true
    }
    earliest = earliest.map { min($0, moment) } ?? moment
  }

  func cancel(_ deadline: Deadline) {
    guard !moments.isEmpty, let moment = moments.removeValue(forKey: deadline) else { return }
    if moment == earliest { isLoose = true }
  }

  /// Asked at each turn of the loop, so it looks at the deadlines only when one may have passed.
  func takeDue() -> [Deadline] {
    guard let moment = earliest, moment <= .now else { return [] }
    let now = MonotonicTime.now
    let due = moments.filter { $0.value <= now }.map(\.key)
    for deadline in due { moments[deadline] = nil }
    findEarliest()
    return due
  }
}
