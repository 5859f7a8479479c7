internal import Glibc
internal import Logging
internal import SystemPackage

/// A reclaimer's table of buffers, and all that is done about it. Buffers keep it alive when the ``Reclaimer`` is gone.
final class ReclaimerCore: Sendable {
  private struct State {
    var table: BufferTable
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
    /// A caller drives it, and it has had a buffer.
    var isEnlisted = false
    /// Nil where dma-bufs' counts are read by the clock.
    var hearing: Hearing?
    var counters = Reclaimer.Counters()
    /// When to ask whether buffers still come; nil while some live, and while nothing is kept for the next.
    var idleCheck: MonotonicTime?
    var cameSinceCheck = false

    /// The earlier of the next look and the next idle check.
    var next: MonotonicTime? {
      earliest(earliest(table.nextLook, idleCheck), hearing?.check)
    }

    /// True when no buffer lives and none came since the last check.
    mutating func isIdle(at now: MonotonicTime) -> Bool {
      guard let check = idleCheck, check <= now else { return false }
      let isIdle = table.isEmpty && !cameSinceCheck
      idleCheck = table.isEmpty && cameSinceCheck ? now.advanced(by: ReclaimerCore.idleTime) : nil
      cameSinceCheck = false
      return isIdle
    }
  }

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

  /// - Parameters:
  ///   - events: Whose caller drives the reclaimer; nil for a thread of its own.
  ///   - hints: Of whoever drives it.
  init(
    _ recheck: Reclaimer.Recheck, events: ReclaimerEvents? = nil, hints: (any CloseHints)? = nil,
    offload: @escaping Reclaimer.Offload = { $0() }
  ) {
    self.offload = offload
    isDrivenByCaller = events != nil
    state = Guarded(
      State(table: BufferTable(recheck), events: events, hearing: hints.map { Hearing($0) }))
  }

  var counters: Reclaimer.Counters {
    state.withLock { state in
      var counters = state.counters
      counters.live = state.table.count
      return counters
    }
  }

  // MARK: The table

  /// Reads or changes the table, under its lock.
  func withTable<Result: ~Copyable>(
    _ body: (inout sending BufferTable) -> sending Result
  ) -> sending Result {
    state.withLock { state in body(&state.table) }
  }

  /// Tables of this process that can have buffers, so that a descriptor that comes back from foreign code, or from
  /// another process, is known again.
  private static let all = Guarded<[ReclaimerCore]>([])

  /// The live buffer of this process that a descriptor is of.
  static func buffer(of identity: VMOIdentity) -> Buffer? {
    for core in all.withLock({ $0 }) {
      if let buffer = core.withTable({ table in
        table.place(of: identity).flatMap { table[$0].buffer }
      }) {
        return buffer
      }
    }
    return nil
  }

  private func enlist() { Self.all.withLock { $0.append(self) } }

  private func delist() { Self.all.withLock { all in all.removeAll { $0 === self } } }

  /// Takes a new buffer into its place. It is looked at for the first time when its first child here closes.
  func settle(_ place: Int, _ buffer: Buffer, _ memory: consuming BufferTable.Memory) throws(Errno)
  {
    let hints: (any CloseHints)? = try state.withLock { state throws(Errno) in
      if state.isAbandoned { throw .canceled }
      let events = try running(&state)
      let parent = memory.parent
      do throws(Errno) {
        if let descriptor = parent.watchedDescriptor {
          memory.watch = try events.closes.watch(descriptor)
        }
        try parent.eventsAreWatched()
      } catch {
        if let watch = memory.watch { events.closes.remove(watch) }
        throw error
      }
      state.table.settle(place, buffer, memory)
      state.cameSinceCheck = true
      return hint(place, &state)
    }
    if let hints { offload { [self] in attach(hints) } }
  }

  private func running(_ state: inout State) throws(Errno) -> ReclaimerEvents {
    if let events = state.events {
      if isDrivenByCaller && !state.isEnlisted {
        state.isEnlisted = true
        enlist()
      }
      return events
    }
    let events = try ReclaimerEvents()
    try KernelThread.start("heap-reclaimer") { [self] in
      while turn() { events.wait(until: nextTurn) }
    }
    state.events = events
    enlist()
    return events
  }

  // MARK: Hints

  /// Has hints tell of a buffer, where they can be had. Answers those that have to be attached first.
  private func hint(_ place: Int, _ state: inout State) -> (any CloseHints)? {
    guard let hearing = state.hearing, state.table.canBeHinted(place) else { return nil }
    switch hearing.stage {
    case .on: watch(place, hearing.hints, &state)
    case .off:
      state.hearing?.stage = .attaching
      return hearing.hints
    case .attaching, .detaching, .failed: break
    }
    return nil
  }

  private func watch(_ place: Int, _ hints: any CloseHints, _ state: inout State) {
    let hint = state.table[place].hint
    hints.watch(hint.inode, downTo: hint.downTo)
    state.table.setHinted(place, true)
  }

  /// Those that came meanwhile are looked at once: what went before was not heard.
  private func attach(_ hints: any CloseHints) {
    var failure: HeapError?
    do throws(HeapError) { try hints.attach() } catch { failure = error }
    if let failure {
      log.warning(
        "closes of dma-bufs are not heard, their counts are read by the clock",
        metadata: ["error": "\(failure)"])
    }
    state.withLock { state in
      guard failure == nil else {
        state.hearing?.stage = .failed
        return
      }
      let now = MonotonicTime.now
      state.hearing?.attached(at: now)
      for place in state.table.unhinted {
        watch(place, hints, &state)
        state.table.startOver(place, at: now)
      }
      call(&state)
    }
  }

  /// Changes a buffer's parents or copies, and with them what hints are to tell of it.
  func change(_ buffer: Buffer, _ body: (inout BufferTable, _ place: Int) -> Void) {
    state.withLock { state in
      guard let place = state.table.place(of: buffer) else { return }
      let hinted = state.table[place].isHinted ? state.table[place].hint.inode : nil
      body(&state.table, place)
      guard let hinted, let hints = state.hearing?.hints else { return }
      hints.unwatch(hinted)
      state.table.setHinted(place, false)
      if state.table.canBeHinted(place) { watch(place, hints, &state) }
      // What went meanwhile was not heard.
      state.table.startOver(place, at: .now)
      call(&state)
    }
  }
}

extension ReclaimerCore {
  // MARK: Calling the waiter

  /// Has the waiter look at one buffer in a moment: a handle to it is on its way to another process, so that a look at
  /// once would find it.
  func checkSoon(_ buffer: Buffer) {
    state.withLock { state in
      guard let place = state.table.place(of: buffer), !state.table[place].isHinted else { return }
      callBy(state.table.startSoon(place, at: .now), &state)
    }
  }

  /// Has the waiter look at one buffer at once.
  func check(_ buffer: Buffer) {
    state.withLock { state in
      guard let place = state.table.place(of: buffer) else { return }
      state.table.startOver(place, at: .now)
      call(&state)
    }
  }

  func check(_ identities: some Sequence<VMOIdentity>) {
    state.withLock { state in
      let now = MonotonicTime.now
      for identity in identities {
        if let place = state.table.place(of: identity) { state.table.startOver(place, at: now) }
      }
      call(&state)
    }
  }

  func checkAll() {
    state.withLock { state in
      state.table.startAllOver(at: .now)
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

  private func callBy(_ moment: MonotonicTime, _ state: inout State) {
    if state.sleepsUntil.map({ moment < $0 }) ?? true { call(&state) }
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
        for watch in closed { state.table.heardClose(watch, at: now) }
      } else {
        // Some reports were lost: each buffer may be the one.
        state.table.startAllOver(at: now)
      }
      if state.hearing?.stage == .on { hear(at: now, &state) }
      return (now, state.table.takeDue(at: now, atMost: Self.mostLooks), state.isIdle(at: now))
    }
    if isIdle { closeKept() }
    var onlyLooked = !due.isEmpty
    for buffer in due where !look(at: buffer) { onlyLooked = false }
    return state.withLock { state in
      if onlyLooked {
        state.table.learn(MonotonicTime.now.nanoseconds - begin.nanoseconds, for: due.count)
      }
      let isLast = state.table.isEmpty && state.finishing
      if isLast {
        state.events = nil
        state.waiter = nil
        delist()
      }
      return !isLast
    }
  }

  private func hear(at now: MonotonicTime, _ state: inout State) {
    guard let hints = state.hearing?.hints else { return }
    let heard = hints.read()
    for inode in heard ?? [] { state.table.heardHint(inode, at: now) }
    if heard == nil || state.hearing?.hasMissed(at: now) == true {
      state.table.startAllOver(at: now)
    }
  }

  var nextTurn: MonotonicTime? {
    state.withLock { state in
      state.sleepsUntil = state.next
      return state.sleepsUntil
    }
  }

  // MARK: On any thread

  /// After the last close in this process, by who closed: to wake another thread costs more than to look.
  func lookAfterClose(_ buffer: Buffer) {
    if isDrivenByCaller || buffer.hasCleanup { check(buffer) } else { look(at: buffer) }
  }

  /// Asks the kernel about one buffer, and takes it back if no child is left. True where that was all: it has children.
  @discardableResult func look(at buffer: Buffer) -> Bool {
    while let children = ask(about: buffer) {
      switch end(children, of: buffer) {
      case .hasChildren: return true
      case .again: continue
      case .copies:
        // Whoever keeps them is another process. Only a count without them proves that no child is left.
        offload { [self] in if withdrawCopies(buffer) { look(at: buffer) } }
        return false
      case .goes: return false
      }
    }
    return false
  }

  private enum Looked {
    case hasChildren, again
    /// Nothing is left but copies that can be withdrawn.
    case copies
    case goes
  }

  private func end(_ children: Children, of buffer: Buffer) -> Looked {
    var going: BufferTable.Going?
    let looked: Looked = state.withLock { state in
      state.counters.checks += 1
      // It cannot go while it is looked at, but where all were let go of.
      guard let place = state.table.place(of: buffer) else { return .hasChildren }
      switch state.table.endLook(place, children, at: .now) {
      case .wait(let moment):
        if let moment { callBy(moment, &state) }
        return .hasChildren
      case .again: return .again
      case .withdraw: return .copies
      case .going(let found):
        unwatch(found, state)
        going = consume found
        return .goes
      }
    }
    if let going = going.take() { takeBack(going, isSlow: buffer.isSlowToReclaim) }
    return looked
  }

  private func unwatch(_ going: borrowing BufferTable.Going, _ state: borrowing State) {
    if let watch = going.watch { state.events?.closes.remove(watch) }
    if let inode = going.hinted { state.hearing?.hints.unwatch(inode) }
  }

  /// Nil where there is nothing to learn. Nothing of the buffer's is held on return.
  private func ask(about buffer: Buffer) -> Children? {
    let family: BufferTable.Family? = state.withLock { state in
      state.table.place(of: buffer).flatMap { state.table.beginLook($0) }
    }
    guard let family else { return nil }
    do throws(Errno) { return try family.children(counts) } catch {
      // E.g. no descriptor left to read fdinfo with. It is asked again, later and later.
      log.warning(
        "cannot read a buffer's reference count, retrying", metadata: ["error": "\(error)"])
      return .some
    }
  }

  /// True for one caller, and when the copies are withdrawn: from then on the count tells of children alone.
  private func withdrawCopies(_ buffer: Buffer) -> Bool {
    let withdrawal: CleanupAction? = state.withLock { state in
      state.table.place(of: buffer).flatMap { state.table.takeWithdrawal(of: $0) }
    }
    guard let withdrawal else { return false }
    withdrawal()
    change(buffer) { $0.copiesAreWithdrawn(of: $1) }
    return true
  }

  private func takeBack(_ going: consuming BufferTable.Going, isSlow: Bool) {
    guard isSlow else { return end(going, runsCleanup: true) }
    let box = Guarded<BufferTable.Going?>(going)
    offload { [self] in
      if let going = box.withLock({ $0.take() }) { end(going, runsCleanup: true) }
    }
  }

  /// Runs the clean-up, lets the memory go, and tells all who wait.
  private func end(_ going: consuming BufferTable.Going, runsCleanup: Bool) {
    let (place, charge) = (going.place, going.charge)
    if runsCleanup { for action in going.cleanup { action() } }
    _ = consume going
    charge?.end()
    tell(
      state.withLock { state in
        if runsCleanup { state.counters.reclaimed += 1 }
        return gone(place, &state)
      })
  }

  /// Gives a key back for which no memory was made.
  func cancel(_ place: Int) { tell(state.withLock { gone(place, &$0) }) }

  private func gone(_ place: Int, _ state: inout State) -> BufferTable.Ended {
    let ended = state.table.gone(place)
    let keeps = isDrivenByCaller ? state.hearing?.stage == .on : keepsFiles
    if keeps, state.table.isEmpty, state.idleCheck == nil {
      state.idleCheck = MonotonicTime.now.advanced(by: Self.idleTime)
      call(&state)
    }
    return ended
  }

  private func tell(_ ended: BufferTable.Ended) {
    if ended.isAwaitedByNobody { return }
    for waiter in ended.waiters { waiter() }
    for tracker in ended.trackers { tracker.close() }
    for deletion in ended.deletions { deletion.come() }
  }

  /// What is kept open from one buffer to the next.
  private func closeKept() {
    if !isDrivenByCaller {
      counts.close()
      idle.run()
    }
    let hints: (any CloseHints)? = state.withLock { state in
      guard state.hearing?.stage == .on, state.table.isEmpty else { return nil }
      state.hearing?.detach()
      return state.hearing?.hints
    }
    if let hints { offload { [self] in detach(hints) } }
  }

  private func detach(_ hints: any CloseHints) {
    hints.detach()
    let isNeeded = state.withLock { state in
      state.hearing?.stage = state.table.isEmpty ? .off : .attaching
      return !state.table.isEmpty
    }
    if isNeeded { attach(hints) }
  }

  /// Of dma-bufs alone: memfds need none.
  private var keepsFiles: Bool { !counts.isEmpty || !idle.isEmpty }

  /// Lets go of all buffers. Those children that there are keep the memory; clean-up actions, which are for its end,
  /// do not run.
  func abandonAll() {
    while let going = abandon() { end(going, runsCleanup: false) }
    delist()
  }

  private func abandon() -> BufferTable.Going? {
    state.withLock { state in
      state.isAbandoned = true
      guard let going = state.table.abandon() else { return nil }
      unwatch(going, state)
      return going
    }
  }
}

/// The earlier of two moments, where there are two; asked at each turn, so that nothing is allocated for it.
private func earliest(_ one: MonotonicTime?, _ other: MonotonicTime?) -> MonotonicTime? {
  guard let one, let other else { return one ?? other }
  return min(one, other)
}
