package import Logging
internal import Synchronization
internal import SystemPackage

/// Every buffer that is not gone, one record each, found by key, by identity and by its watch.
///
/// It asks the kernel nothing and calls nobody: what is to be done it answers. Who has it locks it (``ReclaimerCore``),
/// or is a thread that nobody shares it with (HeapServer's loop).
package struct BufferTable: ~Copyable {
  /// Where a buffer stands between AllocateVmo and the end of its memory.
  package enum State {
    /// Its key is taken, and there is no memory yet: the kernel clears pages, which can take long.
    case making
    /// Its parent is kept. Children can be made, of children alone.
    case live
    /// DeleteVmo came with what should be the last child; others may be left, in any process.
    case deleting
    /// The kernel counted no reference but the parent's: ZERO_CHILDREN. As only a holder can make a child, none can
    /// come to be any more. Clean-up actions run and parents close.
    case going
    /// The parents are closed, and key and place are free. From here on it is another buffer's place.
    case gone

    /// The only steps there are.
    func allows(_ next: State) -> Bool {
      switch (self, next) {
      case (.gone, .making): true
      case (.making, .live), (.making, .gone): true
      case (.live, .deleting), (.live, .going): true
      case (.deleting, .going): true
      case (.going, .gone): true
      default: false
      }
    }

    /// There is memory, and may be children.
    package var hasMemory: Bool { self == .live || self == .deleting }
  }

  package struct Record {
    package fileprivate(set) var key: BufferKey
    /// Whose buffer it is.
    fileprivate(set) var heap: HeapNumber
    package fileprivate(set) var state = State.gone
    /// What handles in this process refer to; nil while it is being made, and where nobody here keeps any.
    fileprivate(set) var buffer: Buffer?
    package fileprivate(set) var family = Family()
    fileprivate(set) var charge: Admission.Charge?
    fileprivate(set) var cleanup: [CleanupAction] = []
    fileprivate(set) var schedule = RecheckSchedule()
    /// Nil where the kernel reports no close.
    fileprivate(set) var watch: CloseEvents.Watch?
    /// A close was reported. It can come before the kernel counts the file as closed, so from then on the kernel is
    /// asked again even of a buffer whose closes it reports.
    fileprivate var heardClose = false
    /// Somebody asks the kernel about it. One at a time, so that nobody holds a parent that is to close.
    fileprivate var isLookedAt = false
    /// Something changed meanwhile.
    fileprivate var isLookedAtAgain = false
    fileprivate var waiters: [BufferWaiter] = []
    /// Called after all others.
    fileprivate var deletions: [DeletionEnd] = []

    /// Hints tell when references fall.
    package fileprivate(set) var isHinted = false

    fileprivate var isAskedAgain: Bool { watch == nil && !isHinted || heardClose }
    /// What a hint tells of: the inode, and the references that are no children's.
    package var hint: (inode: UInt64, downTo: UInt8) {
      (family.first!.identity.inode, UInt8(clamping: 1 + family.copies))
    }
  }

  /// The parents of one buffer: a udmabuf heap adds one for each slice that is a dma-buf of its own.
  package struct Family: Sendable {
    package fileprivate(set) var first: (any Parent)?
    fileprivate(set) var others: [any Parent] = []
    /// How many copies of the first one's descriptor are thought to exist on its behalf: they are no children.
    fileprivate(set) var copies = 0

    /// Whether anyone, anywhere, still holds a child. Where the kernel cannot be asked the log says why.
    package func children(_ counts: FDInfoFiles, _ log: Logger) -> Children {
      do throws(Errno) { return try children(counts) } catch {
        log.warning(
          "cannot read a buffer's reference count, retrying", metadata: ["error": "\(error)"])
        return .unknown
      }
    }

    private func children(_ counts: FDInfoFiles) throws(Errno) -> Children {
      var all = try first?.children(counts, besides: copies) ?? Children.none
      // Nearly always: an empty array is retained as any other.
      if others.isEmpty { return all }
      for parent in others where all != .some {
        all = max(all, try parent.children(counts, besides: 0))
      }
      return all
    }

    func parent(_ identity: VMOIdentity) -> (any Parent)? {
      if let first, first.identity == identity { return first }
      return others.first { $0.identity == identity }
    }
  }

  /// A buffer on its way out: whoever gets it runs its clean-up, closes its parents and says ``gone(_:)``.
  package struct Going: ~Copyable, Sendable {
    package let place: Int
    let cleanup: [CleanupAction]
    package let charge: Admission.Charge?
    package let watch: CloseEvents.Watch?
    /// The inode that hints are no longer to tell of.
    package let hinted: UInt64?
    fileprivate let family: Family
    package var isDMABuf: Bool { family.first?.kind == .dmaBuf }
    /// Asked once: of dma-bufs that are closed with it.
    package func lastDescriptors() -> [CInt] {
      ([family.first].compactMap(\.self) + family.others).compactMap { $0.lastDescriptor() }
    }

    package func children(_ counts: FDInfoFiles, _ log: Logger) -> Children {
      family.children(counts, log)
    }

    /// Takes all of it, so that nothing else holds a parent.
    fileprivate init(_ place: Int, _ record: inout Record) {
      self.place = place
      cleanup = record.cleanup
      record.cleanup = []
      charge = record.charge.take()
      watch = record.watch.take()
      hinted = record.isHinted ? record.hint.inode : nil
      record.isHinted = false
      family = record.family
      record.family = Family()
    }
  }

  /// Whom to tell of a buffer's end, in this order.
  package struct Ended: Sendable {
    fileprivate(set) var waiters: [BufferWaiter] = []
    package fileprivate(set) var trackers: [LifetimeTracker] = []
    fileprivate(set) var deletions: [DeletionEnd] = []
  }

  private var records: [Record] = []
  private var freePlaces: [Int32] = []
  private var keys = HashIndex()
  private var identities = HashIndex()
  private var watches = HashIndex()
  private var queue = RecheckQueue()
  private let hash = NumberHash()
  private let limits: RecheckLimits
  /// The device of all dma-bufs: the kernel's one mount of them.
  private var hintedDevice: UInt64?
  /// Records that have memory, and of which nothing tells.
  private var unwatched = 0
  /// What one look costs, with its part of the waking up: nanoseconds, the least that was measured lately.
  private var lookCost: UInt64 = 0
  private var lifetimes: [CollectionID: CollectionLifetime] = [:]

  package init(_ recheck: Reclaimer.Recheck) { limits = RecheckLimits(recheck) }

  /// Buffers that are not gone.
  package var count: Int { records.count - freePlaces.count }
  package var isEmpty: Bool { count == 0 }

  func count(of heap: HeapNumber) -> Int {
    isEmpty ? 0 : records.count { $0.heap == heap && $0.state != .gone }
  }

  // MARK: Finding

  private func hash(_ key: BufferKey, _ heap: HeapNumber) -> UInt32 {
    hash(key.bufferCollectionID, key.bufferIndex) &+ heap.rawValue &* 0x9E37_79B1
  }

  private func hash(_ identity: VMOIdentity) -> UInt32 { hash(identity.device, identity.inode) }

  package func place(of key: BufferKey, in heap: HeapNumber) -> Int? {
    keys.find(hash(key, heap)) { records[$0].key == key && records[$0].heap == heap }
  }

  package func place(of identity: VMOIdentity) -> Int? {
    identities.find(hash(identity)) {
      records[$0].family.parent(identity) != nil
    }
  }

  /// Nil for a buffer that is gone.
  func place(of buffer: Buffer) -> Int? {
    let place = buffer.place.load(ordering: .relaxed)
    return place >= 0 ? place : nil
  }

  private func place(of watch: CloseEvents.Watch) -> Int? {
    watches.find(UInt32(bitPattern: watch.number)) { records[$0].watch == watch }
  }

  package subscript(place: Int) -> Record { records[place] }

  // MARK: Steps

  private mutating func step(_ place: Int, to next: State) {
    precondition(
      records[place].state.allows(next), "a buffer goes from \(records[place].state) to \(next)")
    records[place].state = next
  }

  /// → making. Nil where the key is taken.
  package mutating func reserve(_ key: BufferKey, in heap: HeapNumber) -> Int? {
    if place(of: key, in: heap) != nil { return nil }
    let place = freePlace(key, heap)
    step(place, to: .making)
    keys.insert(hash(key, heap), place)
    if !lifetimes.isEmpty { lifetimes[CollectionID(heap, key.bufferCollectionID)]?.buffers += 1 }
    return place
  }

  private mutating func freePlace(_ key: BufferKey, _ heap: HeapNumber) -> Int {
    guard let free = freePlaces.popLast() else {
      records.append(Record(key: key, heap: heap))
      return records.count - 1
    }
    let place = Int(free)
    records[place].key = key
    records[place].heap = heap
    records[place].schedule = RecheckSchedule()
    return place
  }

  /// making → live.
  ///
  /// - Parameter buffer: What handles in this process refer to.
  mutating func settle(
    _ place: Int, _ buffer: Buffer, _ parent: any Parent, _ watch: CloseEvents.Watch?,
    _ charge: Admission.Charge?, _ cleanup: [CleanupAction]
  ) {
    settle(place, parent, watch, charge)
    buffer.place.store(place, ordering: .relaxed)
    records[place].buffer = buffer
    records[place].cleanup = cleanup
  }

  /// making → live, where this process keeps no handles.
  ///
  /// - Parameters:
  ///   - watch: Nil where the kernel reports no close of its children.
  ///   - copies: See ``setCopies(_:of:)``.
  package mutating func settle(
    _ place: Int, _ parent: any Parent, _ watch: CloseEvents.Watch?, _ charge: Admission.Charge?,
    copies: Int = 0
  ) {
    step(place, to: .live)
    records[place].charge = charge
    records[place].family.first = parent
    records[place].family.copies = copies
    register(parent.identity, place)
    if let watch {
      records[place].watch = watch
      watches.insert(UInt32(bitPattern: watch.number), place)
    } else {
      unwatched += 1
      hintedDevice = parent.identity.device
    }
  }

  private mutating func register(_ identity: VMOIdentity, _ place: Int) {
    identities.insert(hash(identity), place)
  }

  /// Takes one more parent of a buffer that has a child: the caller's.
  mutating func add(_ parent: any Parent, to place: Int) {
    records[place].family.others.append(parent)
    register(parent.identity, place)
  }

  package enum Deletion {
    case begun
    case unknown
    case wrongHandle
  }

  /// live → deleting.
  ///
  /// - Parameter end: Who waits for the end; nil for one who joins a deletion that has begun before.
  package mutating func beginDeletion(
    _ place: Int?, _ identity: VMOIdentity, _ end: DeletionEnd?
  ) -> Deletion {
    guard let place else { return .unknown }
    switch (records[place].state, end == nil) {
    case (.live, _), (.deleting, true): break
    case (.making, true): return .wrongHandle
    case (.making, false), (.deleting, false), (.going, _), (.gone, _): return .unknown
    }
    guard records[place].family.parent(identity) != nil else { return .wrongHandle }
    if records[place].state == .live {
      step(place, to: .deleting)
      // Somebody waits for its end from now on, and other handles are mostly closed soon.
      records[place].schedule.hasten(to: limits.first)
    }
    if let end { records[place].deletions.append(end) }
    return .begun
  }

  /// going → gone, or making → gone where no memory was made. Nil where nobody waits for it.
  package mutating func gone(_ place: Int) -> Ended? {
    step(place, to: .gone)
    records[place].buffer.take()?.place.store(-1, ordering: .relaxed)
    keys.remove(hash(records[place].key, records[place].heap), place)
    freePlaces.append(Int32(place))
    if lifetimes.isEmpty, records[place].waiters.isEmpty, records[place].deletions.isEmpty {
      return nil
    }
    var ended = Ended()
    swap(&ended.waiters, &records[place].waiters)
    swap(&ended.deletions, &records[place].deletions)
    ended.trackers = leave(
      CollectionID(records[place].heap, records[place].key.bufferCollectionID))
    return ended
  }

  private mutating func leave(_ collection: CollectionID) -> [LifetimeTracker] {
    guard var lifetime = lifetimes.removeValue(forKey: collection) else { return [] }
    lifetime.buffers -= 1
    let due = lifetime.takeDue()
    if !lifetime.trackers.isEmpty { lifetimes[collection] = lifetime }
    return due
  }

  // MARK: Who waits

  mutating func wait(_ place: Int, _ waiter: @escaping BufferWaiter) {
    records[place].waiters.append(waiter)
  }

  /// True where the tracker is due already.
  package mutating func attach(
    _ tracker: LifetimeTracker, to id: UInt64, of heap: HeapNumber
  ) -> Bool {
    let collection = CollectionID(heap, id)
    var lifetime =
      lifetimes[collection]
      ?? CollectionLifetime(
        buffers: records.count {
          $0.heap == heap && $0.key.bufferCollectionID == id && $0.state != .gone
        })
    lifetime.trackers.append(tracker)
    if !lifetime.takeDue().isEmpty { return true }
    lifetimes[collection] = lifetime
    return false
  }

  // MARK: Copies of a parent's descriptor

  /// Whoever keeps them is another process, and they are no children.
  package mutating func setCopies(_ count: Int, of place: Int) {
    records[place].family.copies = count
  }

  // MARK: Hints

  /// Those that hints can be had of: dma-bufs that the kernel counts.
  package var unhinted: [Int] {
    records.indices.filter { canBeHinted($0) && !records[$0].isHinted }
  }

  package func canBeHinted(_ place: Int) -> Bool {
    records[place].state.hasMemory && records[place].watch == nil
  }

  package mutating func setHinted(_ place: Int, _ isHinted: Bool) {
    if records[place].isHinted == isHinted { return }
    records[place].isHinted = isHinted
    unwatched += isHinted ? -1 : 1
  }

  package mutating func heardHint(_ inode: UInt64, at now: MonotonicTime) {
    guard let device = hintedDevice,
      let place = place(of: VMOIdentity(device: device, inode: inode))
    else { return }
    startOver(place, at: now)
  }

  // MARK: Looking

  /// Buffers whose holders are other processes, or code that keeps no account here, or nobody.
  var unreferencedHere: [Buffer] {
    records.compactMap { record in
      record.state.hasMemory && record.buffer?.isReferencedHere == false ? record.buffer : nil
    }
  }

  /// Whether somebody asks about a buffer, or it goes, and nothing has to be cleaned up but its memory.
  var isTakingBack: Bool {
    records.contains { record in
      (record.isLookedAt || record.state == .going) && record.buffer?.hasCleanup == false
    }
  }

  /// - Returns: What the kernel is to be asked about; nil where there is nothing to learn: somebody else asks, or the
  ///   last close in this process has not come.
  package mutating func beginLook(_ place: Int) -> Family? {
    guard records[place].state.hasMemory else { return nil }
    if records[place].buffer?.isReferencedHere == true {
      // Its last close here will have it looked at.
      records[place].schedule.pause()
      return nil
    }
    if records[place].isLookedAt {
      records[place].isLookedAtAgain = true
      return nil
    }
    records[place].isLookedAt = true
    return records[place].family
  }

  package enum Look: ~Copyable {
    /// It has children; the moment when it is asked about again, nil where it will be reported.
    case wait(MonotonicTime?)
    case again
    /// Copies of the parent's descriptor alone seem to be left. Only a count without them proves that no child is.
    case copies
    case going(Going)
  }

  /// Ends what ``beginLook(_:)`` began; → going where no child is left.
  package mutating func endLook(
    _ place: Int, _ children: Children, at now: @autoclosure () -> MonotonicTime
  ) -> Look {
    records[place].isLookedAt = false
    let again = records[place].isLookedAtAgain
    records[place].isLookedAtAgain = false
    guard records[place].state.hasMemory else { return .wait(nil) }
    switch children {
    case .none: return .going(take(place))
    case .copies: return .copies
    case .some where again: return .again
    case .some: return .wait(backOff(place, at: now()))
    case .unknown: return .wait(backOff(place, at: now(), isUnknown: true))
    }
  }

  private mutating func backOff(
    _ place: Int, at now: @autoclosure () -> MonotonicTime, isUnknown: Bool = false
  ) -> MonotonicTime? {
    guard isUnknown || records[place].isAskedAgain else {
      records[place].schedule.pause()
      return nil
    }
    let moment = records[place].schedule.backOff(from: now(), limits, round: round)
    queue.add(place, at: moment)
    return moment
  }

  private mutating func take(_ place: Int) -> Going {
    step(place, to: .going)
    if let watch = records[place].watch {
      watches.remove(UInt32(bitPattern: watch.number), place)
    } else if !records[place].isHinted {
      unwatched -= 1
    }
    let going = Going(place, &records[place])
    // Before any parent closes: with that the kernel may give the inode's number to another buffer.
    unregister(going.family, place)
    records[place].heardClose = false
    records[place].schedule.pause()
    return going
  }

  private mutating func unregister(_ family: Family, _ place: Int) {
    if let first = family.first { identities.remove(hash(first.identity), place) }
    for parent in family.others { identities.remove(hash(parent.identity), place) }
  }

  /// Lets go of the next buffer that has memory, whoever holds children: they keep it. Nil where there is none.
  package mutating func abandon(after place: Int) -> Going? {
    for next in (place + 1)..<records.count where records[next].state.hasMemory {
      return take(next)
    }
    return nil
  }

  // MARK: When to look

  /// When the next buffer is due; nil for never.
  package var nextLook: MonotonicTime? { queue.next }

  /// What it takes to look at all buffers once that nothing else tells of, nanoseconds.
  package var round: UInt64 { UInt64(unwatched) * lookCost }

  /// The same of those that hints tell of.
  package var roundOfHeard: UInt64 { UInt64(records.count { $0.isHinted }) * lookCost }

  package mutating func startOver(_ place: Int, at now: MonotonicTime) {
    // What is due is in the queue already.
    if !records[place].schedule.isDue(at: now) { queue.addNow(place) }
    records[place].schedule.startOver(at: now, limits.first)
  }

  package mutating func startAllOver(at now: MonotonicTime) {
    for place in records.indices where records[place].state.hasMemory { startOver(place, at: now) }
  }

  /// Of those that hints tell of.
  package mutating func startHeardOver(at now: MonotonicTime) {
    for place in records.indices where records[place].isHinted { startOver(place, at: now) }
  }

  /// The first look after a moment, and not at once.
  ///
  /// - Parameter interval: Nanoseconds to that moment at most; nil for the schedule's first.
  @discardableResult
  package mutating func startSoon(
    _ place: Int, at now: MonotonicTime, within interval: UInt64? = nil
  ) -> MonotonicTime {
    records[place].schedule.startOver(at: now, interval ?? limits.first)
    let moment = records[place].schedule.backOff(from: now, limits)
    queue.add(place, at: moment)
    return moment
  }

  package mutating func heardClose(_ watch: CloseEvents.Watch, at now: MonotonicTime) {
    guard let place = place(of: watch) else { return }
    records[place].heardClose = true
    startOver(place, at: now)
  }

  /// The places of those that are due now.
  package mutating func takeDue(at now: MonotonicTime, atMost most: Int) -> [Int] {
    queue.takeDue(at: now, atMost: most).filter { place in
      // What was scheduled anew stands in two buckets, and the place may be another buffer's by now.
      guard records[place].schedule.isDue(at: now) else { return false }
      records[place].schedule.pause()
      return true
    }
  }

  /// By the clock on the wall, which costs no system call: a turn that another thread or the machine under this one interrupted
  /// says too much, by a thousand times and for the first one too. So the least of late counts.
  package mutating func learn(_ time: UInt64, for looks: Int) {
    let sample = time / UInt64(looks)
    lookCost = lookCost == 0 ? sample : min(sample, lookCost + lookCost / 8 + 1)
  }
}

/// A heap among those whose buffers share a table.
package struct HeapNumber: Hashable, Sendable {
  fileprivate let rawValue: UInt32

  private static let last = Atomic<UInt32>(0)

  package static func next() -> HeapNumber {
    HeapNumber(rawValue: last.add(1, ordering: .relaxed).newValue)
  }
}

/// What is called at a buffer's end.
typealias BufferWaiter = @Sendable () -> Void

struct CollectionID: Hashable, Sendable {
  let heap: HeapNumber
  let number: UInt64

  init(_ heap: HeapNumber, _ number: UInt64) {
    self.heap = heap
    self.number = number
  }
}

/// How many buffers a collection has that are not gone, and who wants to know. Only collections with trackers have one.
struct CollectionLifetime {
  var buffers: Int
  var trackers: [LifetimeTracker] = []

  /// The trackers that are due; the caller closes them.
  mutating func takeDue() -> [LifetimeTracker] {
    let due = trackers.filter { buffers <= $0.buffersRemaining }
    if !due.isEmpty { trackers.removeAll { buffers <= $0.buffersRemaining } }
    return due
  }
}
