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
    /// The waiter was called and has not looked yet: no need to call it again.
    var called = false
    var finishing = false
    var counters = Reclaimer.Counters()

    mutating func startOver(_ id: ObjectIdentifier, at now: MonotonicTime) {
      guard entries[id] != nil else { return }
      entries[id]?.schedule.startOver(at: now)
      queue.addNow(id)
    }

    mutating func startAllOver(at now: MonotonicTime) {
      for id in entries.keys { startOver(id, at: now) }
    }
  }

  private let recheck: Reclaimer.Recheck
  private let elsewhere: Reclaimer.Elsewhere?
  /// In one turn: whose thread turns may have others to serve.
  private static let mostLooks = 64
  private let state: Guarded<State>
  private let log = Logger(label: "LinuxHeaps.Reclaimer")

  init(_ recheck: Reclaimer.Recheck) {
    self.recheck = recheck
    elsewhere = nil
    state = Guarded(State())
  }

  /// Driven by its caller.
  init(_ recheck: Reclaimer.Recheck, events: ReclaimerEvents, elsewhere: Reclaimer.Elsewhere?) {
    self.recheck = recheck
    self.elsewhere = elsewhere
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
      let events = try running(&state)
      let id = ObjectIdentifier(buffer)
      var entry = Entry(buffer: buffer, schedule: RecheckSchedule(recheck))
      do throws(Errno) {
        for parent in parents {
          if case .closeOf(let descriptor) = parent.childEvents {
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
    for parent in parents { LocalBuffers.shared.insert(buffer, as: parent.identity) }
  }

  private func running(_ state: inout State) throws(Errno) -> ReclaimerEvents {
    if let events = state.events { return events }
    let events = try ReclaimerEvents.make()
    try ReclaimerThread.start(self, events)
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
    guard let events = state.events, !state.called, !events.isCurrent else { return }
    state.called = true
    events.wakeUp.signal()
  }

  // MARK: On the waiter's thread

  enum Next {
    case sleep(until: MonotonicTime?)
    case end
  }

  /// One turn: hears what was closed, and looks at the buffers that are due.
  func turn() -> Next {
    let due: [Buffer] = state.withLock { state in
      // Read under the lock: what was scheduled before this turn must not lie in its future, because
      // the turn takes it off the queue.
      let now = MonotonicTime.now
      state.counters.wakeups += 1
      guard let events = state.events else { return [] }
      events.isWaitedForHere()
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
        guard let entry = state.entries[id], entry.schedule.isDue(at: now) else { return nil }
        return entry.buffer
      }
    }
    for buffer in due { look(at: buffer) }
    return state.withLock { state in
      if state.entries.isEmpty && state.finishing {
        state.events = nil
        return .end
      }
      return .sleep(until: state.queue.next)
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
        "cannot count a buffer's children, will ask again", metadata: ["error": "\(error)"])
    }
    switch children {
    case .some: waitForChildren(id)
    case .copies: withdrawCopies(of: buffer)
    case .none: if takeOffList(id) { reclaim(buffer) }
    }
  }

  /// Looks again when the copies are gone: only a count without them proves that no child is left.
  private func withdrawCopies(of buffer: Buffer) {
    guard let elsewhere else {
      if buffer.withdrawCopies() { look(at: buffer) }
      return
    }
    // Whoever keeps them is another process.
    elsewhere { [self] in if buffer.withdrawCopies() { look(at: buffer) } }
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
      return buffers
    }
    for buffer in buffers { buffer.abandon() }
  }

  private func reclaim(_ buffer: Buffer) {
    guard let elsewhere, buffer.isSlowToReclaim else { return finish(buffer) }
    elsewhere { [self] in finish(buffer) }
  }

  private func finish(_ buffer: Buffer) {
    buffer.reclaim()
    state.withLock { $0.counters.reclaimed += 1 }
  }
}
