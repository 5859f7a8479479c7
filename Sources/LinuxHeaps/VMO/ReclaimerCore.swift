internal import CLibrary
internal import CLinuxHeaps
internal import Logging
internal import SystemPackage

/// A reclaimer's table of buffers, and all that is done about it. Buffers keep it alive when the ``Reclaimer`` is gone.
final class ReclaimerCore: Sendable {
  private struct State: ~Copyable {
    var table: BufferTable
    /// Nil while there is no thread.
    var events: ReclaimerEvents?
    /// The thread that waits for `events`.
    var waiter: UInt?
    /// When the waiter looks again if nobody calls; nil for never.
    var sleepsUntil: MonotonicTime?
    /// The waiter was called and has not looked yet: no need to call it again.
    var called = false
    var finishing = false
    var counters = Reclaimer.Counters()
    /// When to ask whether buffers still come; nil while some live, and while nothing is kept for the next.
    var idleCheck: MonotonicTime?
    var cameSinceCheck = false

    /// The earlier of the next look and the next idle check.
    var next: MonotonicTime? { MonotonicTime.earlier(table.nextLook, idleCheck) }

    /// True when no buffer lives and none came since the last check.
    mutating func isIdle(at now: MonotonicTime) -> Bool {
      guard let check = idleCheck, check <= now else { return false }
      let isIdle = table.isEmpty && !cameSinceCheck
      idleCheck = table.isEmpty && cameSinceCheck ? now.advanced(by: ReclaimerCore.idleTime) : nil
      cameSinceCheck = false
      return isIdle
    }
  }

  /// In one turn, so that the lock is not held for long.
  private static let mostLooks = 64
  private static let idleTime = Duration.seconds(1)
  /// What heaps keep open from one buffer to the next.
  let idle = IdleActions()
  private let counts = FDInfoFiles()
  /// In place of the thread; nil where there is one.
  let loop: ReclaimerLoop?
  private let state: Guarded<State>
  private let log = Logger(label: "LinuxHeaps.Reclaimer")
  /// A parent notices the ends of its buffers itself.
  let mark = ForkMark()

  init(_ recheck: Reclaimer.Recheck, loop: ReclaimerLoop? = nil) {
    self.loop = loop
    state = Guarded(State(table: BufferTable(recheck)))
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
  private static let all = (tables: Guarded<[ReclaimerCore]>([]), mark: ForkMark())

  /// The live buffer of this process that a descriptor is of; none is a child's of fork(2).
  static func buffer(of identity: VMOIdentity) -> Buffer? {
    if all.mark.isParents { return nil }
    for core in all.tables.withLock({ $0 }) {
      if let buffer = core.withTable({ table in
        table.place(of: identity).flatMap { table[$0].buffer }
      }) {
        return buffer
      }
    }
    return nil
  }

  private func enlist() { Self.all.tables.withLock { $0.append(self) } }

  private func delist() { Self.all.tables.withLock { all in all.removeAll { $0 === self } } }

  /// Takes a new buffer into its place. It is looked at for the first time when its first child here closes.
  func settle(
    _ place: Int, _ buffer: Buffer, _ parent: any Parent, _ charge: Admission.Charge,
    _ cleanup: [CleanupAction]
  ) throws(Errno) {
    try state.withLock { state throws(Errno) in
      if state.events == nil { try start(&state) }
      let watch = try state.events!.closes.watch(parent)
      state.table.settle(place, buffer, parent, watch, charge, cleanup)
      state.cameSinceCheck = true
    }
  }

  /// The first buffer has the thread started, and makes the table one of those that have buffers.
  private func start(_ state: inout State) throws(Errno) {
    if let loop {
      state.events = loop.events
    } else {
      let events = try ReclaimerEvents()
      try startThread(events)
      state.events = events
    }
    enlist()
  }

  private func startThread(_ events: ReclaimerEvents) throws(Errno) {
    try KernelThread.start("heap-reclaimer") { [self] in
      while turn() { events.wait(until: nextTurn) }
    }
  }

  /// Takes one more parent of a buffer that has a child: the caller's.
  func add(_ parent: any Parent, to buffer: Buffer) {
    withTable { table in
      if let place = table.place(of: buffer) { table.add(parent, to: place) }
    }
  }
}

extension ReclaimerCore {
  // MARK: Calling the waiter

  /// Has the waiter look at one buffer in a moment: a handle to it is on its way to another process, so that a look at
  /// once would find it.
  func checkSoon(_ buffer: Buffer) {
    if mark.isParents { return }
    state.withLock { state in
      guard let place = state.table.place(of: buffer) else { return }
      callBy(state.table.startSoon(place, at: .now), &state)
    }
  }

  /// Has the waiter look at one buffer at once.
  private func check(_ buffer: Buffer) {
    state.withLock { state in
      guard let place = state.table.place(of: buffer) else { return }
      state.table.startOver(place, at: .now)
      call(&state)
    }
  }

  func checkAll() {
    state.withLock { state in
      state.table.startAllOver(at: .now)
      call(&state)
    }
  }

  /// Lets the thread end when no buffer is left. Where there was none, nobody's loop turns any more: buffers that are left get one.
  func finish() {
    state.withLock { state in
      state.finishing = true
      if loop != nil, let events = state.events {
        if state.table.isEmpty {
          end(&state)
        } else {
          try? startThread(events)
        }
      }
      // Also on the thread itself: the last buffer of a turn can hold the last reference to the
      // reclaimer, and goes after the turn has asked whether this is the end.
      state.called = true
      state.events?.wakeUp.signal()
    }
  }

  /// Not needed where the waiter itself asks: it looks for the next due time at its turn's end.
  private func call(_ state: inout State) {
    guard let events = state.events, !state.called, state.waiter != CLinuxHeaps_this_thread() else {
      return
    }
    state.called = true
    events.wakeUp.signal()
  }

  private func callBy(_ moment: MonotonicTime, _ state: inout State) {
    if state.sleepsUntil.map({ moment < $0 }) ?? true { call(&state) }
  }

  // MARK: On the waiter's thread

  /// One turn: hears what was closed, and looks at the buffers that are due. False when it was the last.
  private func turn() -> Bool {
    let (begin, due, isIdle): (MonotonicTime, [Buffer], Bool) = state.withLock { state in
      // Read under the lock: what was scheduled before this turn must not lie in its future, because
      // the turn takes it off the queue.
      let now = MonotonicTime.now
      state.counters.wakeups += 1
      guard let events = state.events else { return (now, [], false) }
      state.waiter = CLinuxHeaps_this_thread()
      if state.called { events.wakeUp.clear() }
      state.called = false
      if let closed = (try? events.closes.read()) ?? nil {
        for watch in closed { state.table.heardClose(watch, at: now) }
      } else {
        // Some reports were lost: each buffer may be the one.
        state.table.startAllOver(at: now)
      }
      // Not by their places: those are other buffers' once the lock is gone.
      let due = state.table.takeDue(at: now, atMost: Self.mostLooks)
      return (now, due.compactMap { state.table[$0].buffer }, state.isIdle(at: now))
    }
    if isIdle { closeKept() }
    var onlyLooked = !due.isEmpty
    for buffer in due where !look(at: buffer) { onlyLooked = false }
    return state.withLock { state in
      if onlyLooked {
        state.table.learn(MonotonicTime.now.nanoseconds - begin.nanoseconds, for: due.count)
      }
      let isLast = state.table.isEmpty && state.finishing
      if isLast { end(&state) }
      return !isLast
    }
  }

  private func end(_ state: inout State) {
    state.events = nil
    state.waiter = nil
    delist()
  }

  /// The same in the loop of a caller, who is called again when the next is due.
  func turn(in loop: ReclaimerLoop) {
    _ = turn()
    state.withLock { state in
      state.waiter = nil
      state.sleepsUntil = state.next
      loop.wake(at: state.next)
    }
  }

  private var nextTurn: MonotonicTime? {
    state.withLock { state in
      state.sleepsUntil = state.next
      return state.sleepsUntil
    }
  }

  // MARK: On any thread

  /// After the last close in this process, by who closed: to wake another thread costs more than to look.
  func lookAfterClose(_ buffer: Buffer) {
    if mark.isParents { return }
    if buffer.hasCleanup { check(buffer) } else { look(at: buffer) }
  }

  /// Takes back all that has ended, also where nobody has noticed yet, but for clean-up actions: those run on the waiter's thread.
  /// What another thread takes back is waited for, a second at most.
  func takeBackEnded() {
    if mark.isParents { return }
    for buffer in withTable({ $0.unreferencedHere }) { lookAfterClose(buffer) }
    var milliseconds = 0
    while milliseconds < 1000, withTable({ $0.isTakingBack }) {
      usleep(1000)
      milliseconds += 1
    }
  }

  /// Asks the kernel about one buffer, and takes it back if no child is left. True where that was all: it has children.
  @discardableResult func look(at buffer: Buffer) -> Bool {
    while let children = ask(about: buffer) {
      switch end(children, of: buffer) {
      case .hasChildren: return true
      case .again: continue
      case .goes: return false
      }
    }
    return false
  }

  private enum Looked { case hasChildren, again, goes }

  private func end(_ children: Children, of buffer: Buffer) -> Looked {
    var going: BufferTable.Going?
    let looked: Looked = state.withLock { state in
      state.counters.checks += 1
      // It cannot go while it is looked at.
      guard let place = state.table.place(of: buffer) else { return .hasChildren }
      switch state.table.endLook(place, children, at: .now) {
      case .wait(let moment):
        if let moment { callBy(moment, &state) }
        return .hasChildren
      case .again: return .again
      // Nobody keeps copies of a parent that is kept here.
      case .copies: return .hasChildren
      case .going(let found):
        if let watch = found.watch { state.events?.closes.remove(watch) }
        going = consume found
        return .goes
      }
    }
    if let going = going.take() { end(going) }
    return looked
  }

  /// Nil where there is nothing to learn. Nothing of the buffer's is held on return.
  private func ask(about buffer: Buffer) -> Children? {
    guard
      let family = state.withLock({ state in
        state.table.place(of: buffer).flatMap { state.table.beginLook($0) }
      })
    else { return nil }
    return family.children(counts, log)
  }

  /// Runs the clean-up, lets the memory go, and tells all who wait.
  private func end(_ going: consuming BufferTable.Going) {
    let (place, charge) = (going.place, going.charge)
    for action in going.cleanup { action() }
    _ = consume going
    charge?.end()
    tell(
      state.withLock { state in
        state.counters.reclaimed += 1
        return gone(place, &state)
      })
  }

  /// Gives a key back for which no memory was made.
  func cancel(_ place: Int) { tell(state.withLock { gone(place, &$0) }) }

  private func gone(_ place: Int, _ state: inout State) -> BufferTable.Ended? {
    let ended = state.table.gone(place)
    if state.table.isEmpty, state.idleCheck == nil, keepsFiles {
      state.idleCheck = MonotonicTime.now.advanced(by: Self.idleTime)
      call(&state)
    }
    return ended
  }

  private func tell(_ ended: BufferTable.Ended?) {
    guard let ended else { return }
    for waiter in ended.waiters { waiter() }
    for tracker in ended.trackers { tracker.close() }
    for deletion in ended.deletions { deletion.come() }
  }

  /// What is kept open from one buffer to the next.
  private func closeKept() {
    counts.close()
    idle.run()
  }

  /// Of dma-bufs alone: memfds need none.
  private var keepsFiles: Bool { !counts.isEmpty || !idle.isEmpty }
}
