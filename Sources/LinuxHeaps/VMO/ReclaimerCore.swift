internal import Glibc
internal import Logging
internal import SystemPackage

/// The reclaimer's state. Buffers keep it alive when the ``Reclaimer`` is gone.
final class ReclaimerCore: Sendable {
  private struct Entry {
    let buffer: Buffer
    var schedule: RecheckSchedule
    /// Nil where the kernel reports no close.
    var watch: CloseEvents.Watch?
    /// A close was reported. It can come before the kernel counts the file as closed, so from then
    /// on the kernel is asked again even of a buffer whose closes it reports.
    var heardClose = false

    var isAskedAgain: Bool { watch == nil || heardClose }
  }

  private struct State {
    var entries: [ObjectIdentifier: Entry] = [:]
    var watched: [CloseEvents.Watch: ObjectIdentifier] = [:]
    var queue = RecheckQueue()
    /// Entries without a watch.
    var unwatched = 0
    var events: ReclaimerEvents?
    /// The thread that waits for `events`.
    var waiter: pthread_t?
    /// The waiter was called and has not looked yet: no need to call it again.
    var called = false
    var finishing = false
    /// Nobody will look at the buffers any more.
    var isAbandoned = false
    var counters = Reclaimer.Counters()

    mutating func startOver(_ id: ObjectIdentifier, at now: MonotonicTime) {
      guard let schedule = entries[id]?.schedule else { return }
      // What is due is in the queue already.
      if !schedule.isDue(at: now) { queue.addNow(id) }
      entries[id]?.schedule.startOver(at: now)
    }

    mutating func startAllOver(at now: MonotonicTime) {
      for id in entries.keys { startOver(id, at: now) }
    }
  }

  private let recheck: Reclaimer.Recheck
  private let offload: Reclaimer.Offload
  /// In one turn: whose thread turns may have others to serve.
  private static let mostLooks = 64
  private let state: Guarded<State>
  private let log = Logger(label: "LinuxHeaps.Reclaimer")

  /// - Parameter events: Whose caller drives the reclaimer; nil for a thread of its own.
  init(
    _ recheck: Reclaimer.Recheck, events: ReclaimerEvents? = nil,
    offload: @escaping Reclaimer.Offload = { $0() }
  ) {
    self.recheck = recheck
    self.offload = offload
    var state = State()
    state.events = events
    self.state = Guarded(state)
  }

  var counters: Reclaimer.Counters {
    state.withLock { state in
      var counters = state.counters
      counters.live = state.entries.count
      return counters
    }
  }

  /// Takes charge of a buffer. It is looked at for the first time when its first child here closes.
  func add(_ buffer: Buffer) throws(Errno) {
    let parents = buffer.parents
    try state.withLock { state throws(Errno) in
      if state.isAbandoned { throw .canceled }
      let events = try running(&state)
      let id = ObjectIdentifier(buffer)
      var entry = Entry(buffer: buffer, schedule: RecheckSchedule(recheck))
      do throws(Errno) {
        for parent in parents {
          if let descriptor = parent.watchedDescriptor {
            entry.watch = try events.closes.watch(descriptor)
          }
          try parent.eventsAreWatched()
        }
      } catch {
        if let watch = entry.watch { events.closes.remove(watch) }
        throw error
      }
      if let watch = entry.watch { state.watched[watch] = id } else { state.unwatched += 1 }
      state.entries[id] = entry
    }
    for parent in parents { buffer.register(parent) }
  }

  private func running(_ state: inout State) throws(Errno) -> ReclaimerEvents {
    if let events = state.events { return events }
    let events = try ReclaimerEvents()
    try KernelThread.start("heap-reclaimer") { [self] in
      while turn() { events.wait(until: nextTurn) }
    }
    state.events = events
    return events
  }

  /// Has the waiter look at one buffer at once.
  func check(_ buffer: Buffer) {
    state.withLock { state in
      state.startOver(ObjectIdentifier(buffer), at: .now)
      call(&state)
    }
  }

  func checkAll() {
    state.withLock { state in
      state.startAllOver(at: .now)
      call(&state)
    }
  }

  /// Lets the thread end when no buffer is left.
  func finish() {
    state.withLock { state in
      state.finishing = true
      // Also on the thread itself: the last buffer of a turn can hold the last reference to the
      // reclaimer, and goes after the turn has asked whether this is the end.
      state.called = true
      state.events?.wakeUp.signal()
    }
  }

  /// Not needed where the waiter itself asks: it looks for the next due time at its turn's end.
  private func call(_ state: inout State) {
    guard let events = state.events, !state.called, state.waiter != pthread_self() else { return }
    state.called = true
    events.wakeUp.signal()
  }

  // MARK: On the waiter's thread

  /// One turn: hears what was closed, and looks at the buffers that are due. False when it was the last.
  func turn() -> Bool {
    let due: [Buffer] = state.withLock { state in
      // Read under the lock: what was scheduled before this turn must not lie in its future, because
      // the turn takes it off the queue.
      let now = MonotonicTime.now
      state.counters.wakeups += 1
      guard let events = state.events else { return [] }
      state.waiter = pthread_self()
      if state.called { events.wakeUp.clear() }
      state.called = false
      if let closed = (try? events.closes.read()) ?? nil {
        for watch in closed {
          guard let id = state.watched[watch] else { continue }
          state.entries[id]?.heardClose = true
          state.startOver(id, at: now)
        }
      } else {
        // Some reports were lost: each buffer may be the one.
        state.startAllOver(at: now)
      }
      return state.queue.takeDue(at: now, atMost: Self.mostLooks).compactMap { id in
        // What was scheduled anew stands in two places.
        guard let entry = state.entries[id], entry.schedule.isDue(at: now) else { return nil }
        state.entries[id]?.schedule.pause()
        return entry.buffer
      }
    }
    for buffer in due { look(at: buffer) }
    return state.withLock { state in
      let isLast = state.entries.isEmpty && state.finishing
      if isLast {
        state.events = nil
        state.waiter = nil
      }
      return !isLast
    }
  }

  // MARK: On any thread

  var nextTurn: MonotonicTime? { state.withLock { $0.queue.next } }

  /// Asks the kernel about one buffer, and takes it back if no child is left.
  func look(at buffer: Buffer) {
    let id = ObjectIdentifier(buffer)
    if buffer.isReferencedHere {
      // Its last close here will call; until then there is nothing to learn.
      state.withLock { $0.entries[id]?.schedule.pause() }
      if !buffer.isReferencedHere { check(buffer) }
      return
    }
    var children = Children.some
    do throws(Errno) {
      children = try buffer.children()
    } catch {
      // E.g. no descriptor left to read fdinfo with. It is asked again, later and later.
      log.warning(
        "cannot read a buffer's reference count, retrying", metadata: ["error": "\(error)"])
    }
    switch children {
    case .some: waitForChildren(id)
    case .copies:
      // Whoever keeps them is another process. Only a count without them proves that no child is left.
      offload { [self] in if buffer.withdrawCopies() { look(at: buffer) } }
    case .none: if takeOffList(id) { reclaim(buffer) }
    }
  }

  private func waitForChildren(_ id: ObjectIdentifier) {
    state.withLock { state in
      state.counters.checks += 1
      guard let entry = state.entries[id] else { return }
      if entry.isAskedAgain {
        let moment = state.entries[id]!.schedule.backOff(from: .now, among: state.unwatched)
        state.queue.add(id, at: moment)
        // The waiter may sleep for longer than that.
        call(&state)
      } else {
        state.entries[id]?.schedule.pause()
      }
    }
  }

  /// True for one caller only: it is the one who reclaims.
  private func takeOffList(_ id: ObjectIdentifier) -> Bool {
    state.withLock { state in
      state.counters.checks += 1
      guard let entry = state.entries.removeValue(forKey: id) else { return false }
      if let watch = entry.watch {
        state.watched[watch] = nil
        state.events?.closes.remove(watch)
      } else {
        state.unwatched -= 1
      }
      return true
    }
  }

  /// Lets go of all buffers.
  func abandonAll() {
    let buffers = state.withLock { state in
      let buffers = state.entries.values.map(\.buffer)
      for watch in state.watched.keys { state.events?.closes.remove(watch) }
      state.entries = [:]
      state.watched = [:]
      state.unwatched = 0
      state.queue = RecheckQueue()
      state.isAbandoned = true
      return buffers
    }
    for buffer in buffers { buffer.abandon() }
  }

  private func reclaim(_ buffer: Buffer) {
    let finish: @Sendable () -> Void = { [self] in
      buffer.reclaim()
      state.withLock { $0.counters.reclaimed += 1 }
    }
    if buffer.isSlowToReclaim { offload(finish) } else { finish() }
  }
}

/// When to ask the kernel about one buffer again.
struct RecheckSchedule: Sendable {
  private let first: UInt64
  private let longest: UInt64
  private var interval: UInt64

  /// Nil while something else will tell.
  private(set) var due: MonotonicTime?

  init(_ recheck: Reclaimer.Recheck) {
    first = UInt64(recheck.first.attoseconds / 1_000_000_000)
    longest = UInt64(recheck.longest.attoseconds / 1_000_000_000)
    interval = first
  }

  func isDue(at now: MonotonicTime) -> Bool { due.map { $0 <= now } ?? false }

  mutating func startOver(at now: MonotonicTime) {
    interval = first
    due = now
  }

  /// Waits for the interval, and then twice as long. Answers until when.
  ///
  /// The moment is a whole multiple of the interval, so that all buffers that wait equally long are
  /// asked about in one wake-up.
  ///
  /// - Parameter buffers: How many there are to ask about. At 400 µs for each, the longest wait keeps
  ///   all the asking near one percent of a processor.
  mutating func backOff(from now: MonotonicTime, among buffers: Int = 1) -> MonotonicTime {
    let moment = MonotonicTime(nanoseconds: (now.nanoseconds / interval + 1) * interval)
    due = moment
    interval = min(interval * 2, max(longest, UInt64(buffers) * 400_000))
    return moment
  }

  mutating func pause() { due = nil }
}

/// Which buffers are to be asked about, and when.
///
/// Waits that grow by doubling, at whole multiples of themselves, give a handful of moments for any
/// number of buffers: a bucket for each. What was rescheduled meanwhile stays in its old bucket, and
/// whoever empties that asks the buffer's own schedule.
struct RecheckQueue {
  private var buckets: [MonotonicTime: [ObjectIdentifier]] = [:]
  private static let now = MonotonicTime(nanoseconds: 0)

  /// When to empty the next bucket; nil for never.
  var next: MonotonicTime? { buckets.keys.min() }

  mutating func addNow(_ buffer: ObjectIdentifier) { add(buffer, at: Self.now) }

  mutating func add(_ buffer: ObjectIdentifier, at moment: MonotonicTime) {
    buckets[moment, default: []].append(buffer)
  }

  /// Takes from the buckets whose time has come; what is beyond `most` stays due.
  mutating func takeDue(at time: MonotonicTime, atMost most: Int = .max) -> [ObjectIdentifier] {
    let moments = buckets.keys.filter { $0 <= time }.sorted()
    let due = moments.flatMap { buckets.removeValue(forKey: $0)! }
    if due.count > most { buckets[Self.now] = Array(due[most...]) }
    return Array(due.prefix(most))
  }
}
