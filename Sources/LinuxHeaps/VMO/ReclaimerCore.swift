internal import Glibc
internal import Logging
internal import Synchronization
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
    var entries = Places<Entry>()
    var watched: [CloseEvents.Watch: Int] = [:]
    var queue = RecheckQueue()
    /// Entries without a watch.
    var unwatched = 0
    var events: ReclaimerEvents?
    /// The thread that waits for `events`.
    var waiter: pthread_t?
    /// When the waiter looks again if nobody calls; nil for never.
    var sleepsUntil: MonotonicTime?
    /// The waiter was called and has not looked yet: no need to call it again.
    var called = false
    var finishing = false
    /// Nobody will look at the buffers any more.
    var isAbandoned = false
    var counters = Reclaimer.Counters()
    /// What one look costs, with its part of the waking up: nanoseconds, as measured lately.
    var lookCost: UInt64 = 0
    /// When to ask whether buffers still come; nil while some live, and while nothing is kept for the next.
    var idleCheck: MonotonicTime?
    var cameSinceCheck = false

    /// The earlier of the next look and the next idle check.
    var next: MonotonicTime? {
      guard let look = queue.next, let check = idleCheck else { return queue.next ?? idleCheck }
      return min(look, check)
    }

    /// True when no buffer lives and none came since the last check.
    mutating func isIdle(at now: MonotonicTime) -> Bool {
      guard let check = idleCheck, check <= now else { return false }
      let isIdle = entries.isEmpty && !cameSinceCheck
      idleCheck = entries.isEmpty && cameSinceCheck ? now.advanced(by: ReclaimerCore.idleTime) : nil
      cameSinceCheck = false
      return isIdle
    }

    /// Nil for a buffer that is not in the table any more.
    func place(of buffer: Buffer) -> Int? {
      let place = buffer.place.load(ordering: .relaxed)
      return place >= 0 ? place : nil
    }

    /// By the clock on the wall, which costs no system call: a turn that another thread interrupted says
    /// too much, so that no sample counts for more than twice what was known.
    mutating func learn(_ time: UInt64, for looks: Int) {
      let sample = time / UInt64(looks)
      lookCost = lookCost == 0 ? sample : (lookCost * 7 + min(sample, lookCost * 2)) / 8
    }

    mutating func startOver(_ id: Int, at now: MonotonicTime) {
      guard let schedule = entries[id]?.schedule else { return }
      // What is due is in the queue already.
      if !schedule.isDue(at: now) { queue.addNow(id) }
      entries[id]?.schedule.startOver(at: now)
    }

    mutating func startAllOver(at now: MonotonicTime) {
      for id in entries.places { startOver(id, at: now) }
    }
  }

  private let recheck: Reclaimer.Recheck
  private let offload: Reclaimer.Offload
  /// In one turn: whose thread turns may have others to serve.
  private static let mostLooks = 64
  private static let idleTime = Duration.seconds(1)
  /// What heaps keep open from one buffer to the next.
  let idle = IdleActions()
  private let counts = FDInfoFiles()
  /// And keeps open for good what heaps keep.
  private let isDrivenByCaller: Bool
  private let state: Guarded<State>
  private let log = Logger(label: "LinuxHeaps.Reclaimer")

  /// - Parameter events: Whose caller drives the reclaimer; nil for a thread of its own.
  init(
    _ recheck: Reclaimer.Recheck, events: ReclaimerEvents? = nil,
    offload: @escaping Reclaimer.Offload = { $0() }
  ) {
    self.recheck = recheck
    self.offload = offload
    isDrivenByCaller = events != nil
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
    guard let parent = buffer.parent else { return }
    try state.withLock { state throws(Errno) in
      if state.isAbandoned { throw .canceled }
      let events = try running(&state)
      var entry = Entry(buffer: buffer, schedule: RecheckSchedule(recheck))
      do throws(Errno) {
        if let descriptor = parent.watchedDescriptor {
          entry.watch = try events.closes.watch(descriptor)
        }
        try parent.eventsAreWatched()
      } catch {
        if let watch = entry.watch { events.closes.remove(watch) }
        throw error
      }
      let id = state.entries.insert(entry)
      buffer.place.store(id, ordering: .relaxed)
      if let watch = entry.watch { state.watched[watch] = id } else { state.unwatched += 1 }
      state.cameSinceCheck = true
    }
    buffer.register(parent)
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

  /// Has the waiter look at one buffer in a moment: a handle to it is on its way to another process, so that a look at once
  /// would find it.
  func checkSoon(_ buffer: Buffer) {
    state.withLock { state in
      guard let id = state.place(of: buffer) else { return }
      let now = MonotonicTime.now
      state.entries[id]!.schedule.startOver(at: now)
      let moment = state.entries[id]!.schedule.backOff(from: now)
      state.queue.add(id, at: moment)
      if state.sleepsUntil.map({ moment < $0 }) ?? true { call(&state) }
    }
  }

  /// Has the waiter look at one buffer at once.
  func check(_ buffer: Buffer) {
    state.withLock { state in
      guard let id = state.place(of: buffer) else { return }
      state.startOver(id, at: .now)
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
    let (begin, due, isIdle): (MonotonicTime, [Buffer], Bool) = state.withLock { state in
      // Read under the lock: what was scheduled before this turn must not lie in its future, because
      // the turn takes it off the queue.
      let now = MonotonicTime.now
      state.counters.wakeups += 1
      guard let events = state.events else { return (now, [], false) }
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
      let due = state.queue.takeDue(at: now, atMost: Self.mostLooks).compactMap { id -> Buffer? in
        // What was scheduled anew stands in two places.
        guard let entry = state.entries[id], entry.schedule.isDue(at: now) else { return nil }
        state.entries[id]?.schedule.pause()
        return entry.buffer
      }
      return (now, due, state.isIdle(at: now))
    }
    if isIdle {
      counts.close()
      idle.run()
    }
    var onlyLooked = !due.isEmpty
    for buffer in due where !look(at: buffer) { onlyLooked = false }
    return state.withLock { state in
      if onlyLooked {
        state.learn(MonotonicTime.now.nanoseconds - begin.nanoseconds, for: due.count)
      }
      let isLast = state.entries.isEmpty && state.finishing
      if isLast {
        state.events = nil
        state.waiter = nil
      }
      return !isLast
    }
  }

  // MARK: On any thread

  var nextTurn: MonotonicTime? {
    state.withLock { state in
      state.sleepsUntil = state.next
      return state.sleepsUntil
    }
  }

  /// After the last close in this process, by who closed: to wake another thread costs more than to look.
  func lookAfterClose(_ buffer: Buffer) {
    if isDrivenByCaller || buffer.hasCleanup { check(buffer) } else { look(at: buffer) }
  }

  /// Asks the kernel about one buffer, and takes it back if no child is left. True where that was all: it has children.
  @discardableResult func look(at buffer: Buffer) -> Bool {
    if buffer.isReferencedHere {
      // Its last close here will call; until then there is nothing to learn.
      state.withLock { state in
        if let id = state.place(of: buffer) { state.entries[id]?.schedule.pause() }
      }
      if !buffer.isReferencedHere { check(buffer) }
      return false
    }
    var children = Children.some
    do throws(Errno) {
      children = try buffer.children(counts)
    } catch {
      // E.g. no descriptor left to read fdinfo with. It is asked again, later and later.
      log.warning(
        "cannot read a buffer's reference count, retrying", metadata: ["error": "\(error)"])
    }
    switch children {
    case .some: waitForChildren(buffer)
    case .copies:
      // Whoever keeps them is another process. Only a count without them proves that no child is left.
      offload { [self] in if buffer.withdrawCopies() { look(at: buffer) } }
    case .none: if takeOffList(buffer) { reclaim(buffer) }
    }
    return children == .some
  }

  private func waitForChildren(_ buffer: Buffer) {
    state.withLock { state in
      state.counters.checks += 1
      guard let id = state.place(of: buffer), let entry = state.entries[id] else { return }
      if entry.isAskedAgain {
        let round = UInt64(state.unwatched) * state.lookCost
        let moment = state.entries[id]!.schedule.backOff(from: .now, round: round)
        state.queue.add(id, at: moment)
        // The waiter may sleep for longer than that.
        call(&state)
      } else {
        state.entries[id]?.schedule.pause()
      }
    }
  }

  /// True for one caller only: it is the one who reclaims.
  private func takeOffList(_ buffer: Buffer) -> Bool {
    state.withLock { state in
      state.counters.checks += 1
      guard let id = state.place(of: buffer), let entry = state.entries.remove(id) else {
        return false
      }
      buffer.place.store(-1, ordering: .relaxed)
      if let watch = entry.watch {
        state.watched[watch] = nil
        state.events?.closes.remove(watch)
      } else {
        state.unwatched -= 1
      }
      if !isDrivenByCaller, state.entries.isEmpty, state.idleCheck == nil, keepsFiles {
        state.idleCheck = MonotonicTime.now.advanced(by: Self.idleTime)
        call(&state)
      }
      return true
    }
  }

  /// Of dma-bufs alone: memfds need none.
  private var keepsFiles: Bool { !counts.isEmpty || !idle.isEmpty }

  /// Lets go of all buffers.
  func abandonAll() {
    let buffers = state.withLock { state in
      let buffers = state.entries.all.map(\.buffer)
      for buffer in buffers { buffer.place.store(-1, ordering: .relaxed) }
      for watch in state.watched.keys { state.events?.closes.remove(watch) }
      state.entries = Places()
      state.watched = [:]
      state.unwatched = 0
      state.queue = RecheckQueue()
      state.isAbandoned = true
      return buffers
    }
    for buffer in buffers { buffer.abandon() }
  }

  private func reclaim(_ buffer: Buffer) {
    if buffer.isSlowToReclaim { offload { [self] in finish(buffer) } } else { finish(buffer) }
  }

  private func finish(_ buffer: Buffer) {
    buffer.reclaim()
    state.withLock { $0.counters.reclaimed += 1 }
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
  /// - Parameter round: What it costs to ask about all buffers once, nanoseconds. The longest wait is at
  ///   least 128 times that, which keeps all the asking below one percent of a processor.
  mutating func backOff(from now: MonotonicTime, round: UInt64 = 0) -> MonotonicTime {
    let moment = MonotonicTime(nanoseconds: (now.nanoseconds / interval + 1) * interval)
    due = moment
    // Doubled only, so that those who wait equally long go on to do so.
    if interval < longest {
      interval = min(interval * 2, longest)
    } else if interval / 128 < round {
      interval *= 2
    } else if interval > longest, interval / 256 >= round {
      interval = max(interval / 2, longest)
    }
    return moment
  }

  mutating func pause() { due = nil }
}

/// Which buffers, by their places in the table, are to be asked about, and when.
///
/// Waits that grow by doubling, at whole multiples of themselves, give a handful of moments for any
/// number of buffers: a bucket for each. What was rescheduled meanwhile stays in its old bucket, and
/// whoever empties that asks the buffer's own schedule.
struct RecheckQueue {
  private var buckets: [MonotonicTime: [Int]] = [:]
  private static let now = MonotonicTime(nanoseconds: 0)

  /// When to empty the next bucket; nil for never.
  var next: MonotonicTime? { buckets.keys.min() }

  mutating func addNow(_ buffer: Int) { add(buffer, at: Self.now) }

  mutating func add(_ buffer: Int, at moment: MonotonicTime) {
    buckets[moment, default: []].append(buffer)
  }

  /// Takes from the buckets whose time has come; what is beyond `most` stays due.
  mutating func takeDue(at time: MonotonicTime, atMost most: Int = .max) -> [Int] {
    guard let next, next <= time else { return [] }
    let moments = buckets.keys.filter { $0 <= time }.sorted()
    let due = moments.flatMap { buckets.removeValue(forKey: $0)! }
    if due.count > most { buckets[Self.now] = Array(due[most...]) }
    return Array(due.prefix(most))
  }
}
