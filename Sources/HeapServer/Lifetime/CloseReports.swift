internal import HeapSurvey
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// How the loop hears that something of a buffer was closed: of memfds by inotify, and of dma-bufs by the kernel's own
/// closing, where it may (``DMABufCloses``). Else, and where a report was lost, it looks by the clock.
///
/// A report decides nothing: the buffer is looked at.
///
/// Some closes of dma-bufs go unheard, and not all of those are counted: a call that is under way while another program, a tracer's,
/// comes or goes on the same function ends without any (`bpf_tramp_image_put`, kernel/bpf/trampoline.c). So all that are heard are
/// looked at in rounds, after 1 s and then after twice as long each time up to 64 s; after 1 s again where the kernel's count of missed
/// closes rose.
final class CloseReports {
  /// Whether the closes of dma-bufs are heard. To attach and to detach takes long enough to be done on a worker.
  private enum Stage {
    /// Nobody has a dma-buf.
    case off
    case attaching
    case on
    case detaching
    /// The kernel refused.
    case failed
  }

  private let events: CloseEvents
  private let closes: DMABufCloses?
  private var stage = Stage.off
  /// What went unheard by the kernel's last count.
  private var missed: UInt64 = 0
  /// When to look at all that are heard; nil while not attached.
  private var nextRound: MonotonicTime?
  private var roundInterval = CloseReports.firstInterval
  /// When to detach, if no buffer comes until then; nil while there are some.
  private var idleCheck: MonotonicTime?
  private let shared: Shared

  private static let firstInterval: UInt64 = 1_000_000_000
  /// The one wake-up of a server whose buffers are at rest.
  private static let longestInterval = RecheckLimits.mostSeldom

  init(_ shared: Shared, _ closes: DMABufCloses?) throws(Errno) {
    self.shared = shared
    self.closes = closes
    let events = try CloseEvents()
    try shared.poller.add(events.descriptor, EventSource(.closes))
    if let closes { try shared.poller.add(closes.descriptor, EventSource(.dmaBufCloses)) }
    self.events = events
  }

  /// When to check.
  var nextCheck: MonotonicTime? { MonotonicTime.earlier(nextRound, idleCheck) }

  // MARK: What is watched

  /// Watches a new parent's children, as far as inotify tells of them.
  func watch(_ parent: any Parent) throws(Errno) -> CloseEvents.Watch? { try events.watch(parent) }

  /// Has the closes of a live dma-buf told, where they can be heard.
  func begin(_ place: Int, of table: inout BufferTable) {
    idleCheck = nil
    guard let closes, table.canBeHinted(place) else { return }
    switch stage {
    case .on: watch(place, of: &table, closes)
    case .off: attach(closes)
    case .attaching, .detaching, .failed: break
    }
  }

  private func watch(_ place: Int, of table: inout BufferTable, _ closes: DMABufCloses) {
    let (inode, references) = table[place].hint
    closes.watch(inode, downTo: references)
    table.setHinted(place, true)
  }

  func end(_ going: borrowing BufferTable.Going) {
    if let watch = going.watch { events.remove(watch) }
    if let inode = going.hinted { closes?.unwatch(inode) }
  }

  /// Hears no close of a buffer until it begins again. Whoever has that done looks at the buffer afterwards.
  func pause(_ place: Int, of table: inout BufferTable) {
    guard let closes, table[place].isHinted else { return }
    closes.unwatch(table[place].hint.inode)
    table.setHinted(place, false)
  }

  /// After a change of what is no child of a buffer's.
  func beginAnew(_ place: Int, of table: inout BufferTable) {
    guard table[place].isHinted else { return }
    pause(place, of: &table)
    begin(place, of: &table)
  }

  // MARK: Attaching

  private func attach(_ closes: DMABufCloses) {
    stage = .attaching
    let mailbox = shared.mailbox
    shared.workers.run(in: Workers.Lane(1, of: .server)) {
      do throws(HeapError) {
        try closes.attach()
        mailbox.post(.attached(nil))
      } catch {
        mailbox.post(.attached(error))
      }
    }
  }

  func attached(_ failure: HeapError?, _ table: inout BufferTable) {
    guard let closes else { return }
    if let failure {
      stage = .failed
      return shared.log.warning(
        "closes of dma-bufs are not heard, their counts are read by the clock",
        metadata: ["error": "\(failure)"])
    }
    stage = .on
    let now = MonotonicTime.now
    missed = (try? closes.missed()) ?? 0
    setNextRound(after: Self.firstInterval, from: now, table)
    if table.isEmpty { emptied() }
    // What went before was not heard.
    for place in table.unhinted {
      watch(place, of: &table, closes)
      table.startOver(place, at: now)
    }
  }

  /// The last buffer is gone. Every close on the machine costs a little while closes are heard.
  func emptied() {
    if stage == .on { idleCheck = MonotonicTime.now.advanced(by: .seconds(1)) }
  }

  private func detach(_ closes: DMABufCloses) {
    stage = .detaching
    (nextRound, idleCheck) = (nil, nil)
    let mailbox = shared.mailbox
    shared.workers.run(in: Workers.Lane(1, of: .server)) {
      closes.detach()
      mailbox.post(.detached)
    }
  }

  /// Nothing is watched any more.
  func finish() {
    if let closes, stage == .on || stage == .attaching { detach(closes) }
  }

  func detached(_ table: borrowing BufferTable) {
    stage = .off
    if !table.isEmpty, let closes { attach(closes) }
  }

  // MARK: Reading

  /// Has the table schedule what inotify reported.
  func read(into table: inout BufferTable, at now: MonotonicTime) {
    if let watches = (try? events.read()) ?? nil {
      for watch in watches { table.heardClose(watch, at: now) }
    } else {
      // Some reports were lost: each buffer may be the one.
      table.startAllOver(at: now)
    }
  }

  /// And what was heard of dma-bufs.
  func readOfDMABufs(into table: inout BufferTable, at now: MonotonicTime) {
    guard stage == .on, let closes else { return }
    guard let heard = closes.read() else { return table.startAllOver(at: now) }
    for inode in heard { table.heardHint(inode, at: now) }
  }

  /// What is due by ``nextCheck``.
  func check(_ table: inout BufferTable, at now: MonotonicTime) {
    guard stage == .on, let closes else { return }
    if let nextRound, nextRound <= now {
      table.startHeardOver(at: now)
      let next = hasMissed(closes) ? Self.firstInterval : roundInterval * 2
      setNextRound(after: min(next, Self.longestInterval), from: now, table)
    }
    if let idleCheck, idleCheck <= now { detach(closes) }
  }

  /// Whether the kernel counted closes that went unheard since it was last asked. One that cannot be asked says yes.
  private func hasMissed(_ closes: DMABufCloses) -> Bool {
    let missed = try? closes.missed()
    defer { self.missed = missed ?? 0 }
    return missed != self.missed
  }

  /// Not so soon that rounds would take more than one percent of a processor.
  private func setNextRound(
    after interval: UInt64, from now: MonotonicTime, _ table: borrowing BufferTable
  ) {
    roundInterval = interval
    let least = min(128 * table.roundOfHeard, Self.longestInterval)
    nextRound = MonotonicTime(nanoseconds: now.nanoseconds + max(interval, least))
  }
}
