internal import Glibc
internal import Logging
internal import SystemPackage

/// The reclaimer's state and its thread. Buffers keep it alive when the ``Reclaimer`` is gone.
final class ReclaimerCore: Sendable {
  private struct Entry {
    let buffer: Buffer
    var schedule: RecheckSchedule
    /// Empty where the kernel reports no close.
    var watches: [CloseEvents.Watch] = []
    /// A close was reported. It can come before the kernel counts the file as closed, so from then
    /// on the kernel is asked again even of a buffer whose closes it reports.
    var heardClose = false
  }

  private struct State {
    var entries: [ObjectIdentifier: Entry] = [:]
    var watched: [CloseEvents.Watch: ObjectIdentifier] = [:]
    var thread: ReclaimerThread?
    /// The thread was called and has not looked yet: no need to call it again.
    var called = false
    var finishing = false
    var counters = Reclaimer.Counters()
  }

  private let recheck: Reclaimer.Recheck
  private let state = Guarded(State())
  private let log = Logger(label: "LinuxHeaps.Reclaimer")

  init(_ recheck: Reclaimer.Recheck) { self.recheck = recheck }

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
      if state.thread == nil { state.thread = try ReclaimerThread(self) }
      let thread = state.thread!
      let id = ObjectIdentifier(buffer)
      var entry = Entry(buffer: buffer, schedule: RecheckSchedule(recheck))
      do throws(Errno) {
        for parent in parents {
          if case .closeOf(let descriptor) = parent.childEvents {
            entry.watches.append(try thread.closeEvents.watch(descriptor))
          }
          try parent.eventsAreWatched()
        }
      } catch {
        for watch in entry.watches { thread.closeEvents.remove(watch) }
        throw error
      }
      for watch in entry.watches { state.watched[watch] = id }
      state.entries[id] = entry
    }
    for parent in parents { LocalBuffers.shared.insert(buffer, as: parent.identity) }
  }

  /// Has the thread look at one buffer at once.
  func check(_ buffer: Buffer) {
    state.withLock { state in
      state.entries[ObjectIdentifier(buffer)]?.schedule.startOver(at: .now)
      call(&state)
    }
  }

  func checkAll() {
    let now = MonotonicTime.now
    state.withLock { state in
      for id in state.entries.keys { state.entries[id]?.schedule.startOver(at: now) }
      call(&state)
    }
  }

  /// Lets the thread end when no buffer is left.
  func finish() {
    state.withLock { state in
      state.finishing = true
      call(&state)
    }
  }

  /// Not needed where the thread itself asks: it looks for the next due time at its turn's end.
  private func call(_ state: inout State) {
    guard let thread = state.thread, !state.called, !thread.isCurrent else { return }
    state.called = true
    thread.wakeUp.signal()
  }

  // MARK: On the thread

  /// One turn: looks at the buffers that are due. Answers how long to sleep, or false to end.
  func turn(_ events: [CloseEvents.Watch]?) -> ReclaimerThread.Next {
    let now = MonotonicTime.now
    let due: [Buffer] = state.withLock { state in
      state.called = false
      state.counters.wakeups += 1
      if let events {
        for watch in events {
          guard let id = state.watched[watch] else { continue }
          state.entries[id]?.heardClose = true
          state.entries[id]?.schedule.startOver(at: now)
        }
      } else {
        // Some reports were lost: each buffer may be the one.
        for id in state.entries.keys { state.entries[id]?.schedule.startOver(at: now) }
      }
      return state.entries.values.filter { $0.schedule.isDue(at: now) }.map(\.buffer)
    }
    for buffer in due { look(at: buffer) }
    return state.withLock { state in
      if state.entries.isEmpty && state.finishing {
        state.thread = nil
        return .end
      }
      return .sleep(until: state.entries.values.compactMap(\.schedule.due).min())
    }
  }

  // MARK: On any thread

  /// Asks the kernel about one buffer, and takes it back if no child is left.
  func look(at buffer: Buffer) {
    let id = ObjectIdentifier(buffer)
    if buffer.isReferencedHere {
      // Its last close here will call; until then there is nothing to learn.
      state.withLock { $0.entries[id]?.schedule.pause() }
      if !buffer.isReferencedHere { check(buffer) }
      return
    }
    var hasChildren = true
    do throws(Errno) {
      hasChildren = try buffer.hasChildren()
    } catch {
      // E.g. no descriptor left to read fdinfo with. It is asked again, later and later.
      log.warning(
        "cannot count a buffer's children, will ask again", metadata: ["error": "\(error)"])
    }
    state.withLock { $0.counters.checks += 1 }
    if hasChildren {
      waitForChildren(id)
    } else if takeOffList(id) {
      buffer.reclaim()
      state.withLock { $0.counters.reclaimed += 1 }
    }
  }

  private func waitForChildren(_ id: ObjectIdentifier) {
    state.withLock { state in
      guard let entry = state.entries[id] else { return }
      if entry.watches.isEmpty || entry.heardClose {
        state.entries[id]?.schedule.backOff(from: .now)
        // The thread may sleep for longer than that.
        call(&state)
      } else {
        state.entries[id]?.schedule.pause()
      }
    }
  }

  /// True for one caller only: it is the one who reclaims.
  private func takeOffList(_ id: ObjectIdentifier) -> Bool {
    state.withLock { state in
      guard let entry = state.entries.removeValue(forKey: id) else { return false }
      for watch in entry.watches {
        state.watched[watch] = nil
        state.thread?.closeEvents.remove(watch)
      }
      return true
    }
  }
}
