internal import LinuxHeaps

/// A dma-buf that lies in the pool.
struct PoolEntry: Sendable {
  var memory: PoolMemory
  private let charge: Admission.Charge
  /// When it came, or became ready.
  var since = MonotonicTime.now
  /// When it is to be looked at again, where it was held.
  var due = MonotonicTime(nanoseconds: 0)

  init(_ memory: PoolMemory, _ charge: Admission.Charge) {
    self.memory = memory
    self.charge = charge
  }

  var byteCount: UInt64 { memory.kind.byteCount }

  /// For who is handed it: the charge goes with it.
  consuming func grant() -> Admission.Grant { Admission.Grant(of: charge) }

  /// Once, when it goes.
  func end() {
    memory.letGo()
    endCharge()
  }

  /// Once its memory is gone.
  func endCharge() { charge.end() }
}

/// What lies in the pool, and what is to be done next. It asks the kernel nothing and closes nothing: what goes it answers.
struct PoolState {
  var settings: PoolSettings { didSet { unkept = [] } }
  /// How many may lie here.
  private let mostBuffers: Int
  var hasThread = false
  var isClosed = false
  /// Zeroed, and seen to have no other holder.
  private var ready: [PoolKind: [PoolEntry]] = [:]
  /// In the order in which they are to be looked at.
  private var returned: [PoolEntry] = []
  /// Of all that lies here, and of what the thread has in hand.
  private var bytes: UInt64 = 0
  private var buffers = 0
  /// What went to make room, for the thread to close.
  private var going: [PoolEntry] = []
  /// Of what the thread has in hand and is to go.
  private var bytesInHand: UInt64 = 0
  /// Buffers that had to be made for a request, and when the last of them was.
  private var misses: [PoolKind: (count: Int, last: MonotonicTime)] = [:]
  /// None is made ahead before that: there was no memory.
  private var pausesUntil = MonotonicTime(nanoseconds: 0)
  /// None of the kind, one of the settings', is: it could not be made.
  private var failures: [PoolKind: MonotonicTime] = [:]
  /// Kinds of the settings' for which another heap served, whose buffers are not pooled.
  private var unkept: Set<PoolKind> = []
  /// Requests that are tried again: none is made ahead meanwhile.
  private var retries = 0
  /// The thread has something in hand.
  private var isInHand = false
  /// How many wait for that to go.
  private var waiting = 0
  /// What others close, whose last close may wait for its owner.
  private var ends: [UInt64: End] = [:]
  /// The number of the newest of them.
  private(set) var lastEnd: UInt64 = 0
  private var counted = PoolFigures()

  init(settings: PoolSettings, mostBuffers: Int = Pool.mostBuffers) {
    self.settings = settings
    self.mostBuffers = mostBuffers
  }

  var figures: PoolFigures {
    var figures = counted
    figures.bytes = bytes
    figures.readyBuffers = ready.values.reduce(0) { $0 + $1.count }
    return figures
  }

  var isEmpty: Bool { buffers == 0 }

  /// What comes free when all goes, what is on its way out included.
  func releasableBytes(at now: MonotonicTime) -> UInt64 {
    going.reduce(bytes + bytesInHand) { $0 + $1.byteCount }
      + ends.values.reduce(0) { $0 + ($1.isSlow(at: now) ? 0 : $1.byteCount) }
  }

  private mutating func enter(_ byteCount: UInt64) {
    bytes += byteCount
    buffers += 1
  }

  private mutating func leave(_ byteCount: UInt64) {
    bytes -= byteCount
    buffers -= 1
  }

  private func hasRoom(for byteCount: UInt64) -> Bool {
    buffers < mostBuffers && bytes + byteCount <= settings.byteCount
  }

  // MARK: Out of the pool

  /// One that suits the user; its own first, because others can take what is new.
  mutating func take(_ kind: PoolKind, _ owner: UInt32?) -> PoolEntry? {
    if isClosed || settings.byteCount == 0 || isHeldUp(owner, at: .now) { return nil }
    let entries = ready[kind] ?? []
    let index =
      entries.lastIndex { !$0.memory.isNew && $0.memory.suits(owner) }
      ?? entries.lastIndex { $0.memory.isNew }
    guard let index else { return nil }
    counted.hits += 1
    return remove(kind, at: index)
  }

  /// A request found none, and one was made for it: a kind that cannot be made, or that nobody may have, is never learned.
  mutating func missed(_ kind: PoolKind) {
    // It could be made after all.
    unkept.remove(kind)
    if isClosed || settings.byteCount == 0 { return }
    counted.misses += 1
    guard settings.learns, misses[kind] != nil || misses.count < Self.mostKinds else { return }
    misses[kind] = (min((misses[kind]?.count ?? 0) + 1, Self.mostLearned), .now)
  }

  private static let mostLearned = 16
  /// Sizes are the clients' choice.
  private static let mostKinds = 64

  private mutating func remove(_ kind: PoolKind, at index: Int) -> PoolEntry {
    let entry = ready[kind]!.remove(at: index)
    if ready[kind]!.isEmpty { ready[kind] = nil }
    leave(entry.byteCount)
    return entry
  }

  /// All but what the thread has in hand.
  mutating func takeAll() -> [PoolEntry] {
    let all = returned + ready.values.joined()
    returned = []
    ready = [:]
    for entry in all { leave(entry.byteCount) }
    return all + takeGoing()
  }

  mutating func takeGoing() -> [PoolEntry] {
    defer { going = [] }
    return going
  }

  // MARK: Ends that may wait

  private struct End {
    let owner: UInt32?
    let byteCount: UInt64
    let since: MonotonicTime

    func isSlow(at now: MonotonicTime) -> Bool { since.advanced(by: .seconds(1)) <= now }
  }

  /// - Returns: What ``endEnd(_:)`` is told.
  mutating func beginEnd(_ entry: PoolEntry, at now: MonotonicTime) -> UInt64 {
    lastEnd += 1
    ends[lastEnd] = End(owner: entry.memory.owner, byteCount: entry.byteCount, since: now)
    return lastEnd
  }

  mutating func endEnd(_ number: UInt64) { ends[number] = nil }

  /// Whether something of so far is being closed that is not known to wait.
  func isEnding(upTo number: UInt64, at now: MonotonicTime) -> Bool {
    ends.contains { $0.key <= number && !$0.value.isSlow(at: now) }
  }

  /// Whether what an owner had does not go: more of its memory would be on nobody's account. Of all owners as much as may lie here.
  func isHeldUp(_ owner: UInt32?, at now: MonotonicTime) -> Bool {
    if ends.isEmpty { return false }
    var (count, bytes, bytesOfAll): (Int, UInt64, UInt64) = (0, 0, 0)
    for end in ends.values {
      bytesOfAll += end.byteCount
      guard end.owner == owner else { continue }
      if end.isSlow(at: now) { return true }
      count += 1
      bytes += end.byteCount
    }
    return count > mostBuffers / 4 || bytes > settings.byteCount / 2
      || bytesOfAll > settings.byteCount || ends.count > mostBuffers
  }

  // MARK: Into the pool

  /// What was here longest makes room for it; the thread closes that.
  ///
  /// - Returns: Whether it stays.
  mutating func giveBack(_ entry: PoolEntry, at now: MonotonicTime) -> Bool {
    if isHeldUp(entry.memory.owner, at: now) {
      counted.refused += 1
      return false
    }
    if !isClosed && entry.byteCount <= settings.byteCount {
      while !hasRoom(for: entry.byteCount), let oldest = takeOldest() { going.append(oldest) }
    }
    // Otherwise the thread has the rest in hand.
    guard !isClosed, hasRoom(for: entry.byteCount) else {
      counted.refused += 1
      return false
    }
    enter(entry.byteCount)
    returned.append(entry)
    return true
  }

  private mutating func takeOldest() -> PoolEntry? {
    let oldest = ready.compactMap { kind, entries in entries.first.map { (kind, $0.since) } }
      .min { $0.1 < $1.1 }
    if let (kind, _) = oldest { return remove(kind, at: 0) }
    if returned.isEmpty { return nil }
    let entry = returned.removeFirst()
    leave(entry.byteCount)
    return entry
  }

  /// What came of looking at one that was returned.
  enum Result { case free, held, failed }

  /// - Returns: Whether it goes.
  mutating func settle(_ entry: PoolEntry, _ result: Result, at now: MonotonicTime) -> Bool {
    var entry = entry
    if isClosed || waiting > 0 || bytes > settings.byteCount {
      letGo(entry.byteCount)
      return true
    }
    switch result {
    case .free:
      entry.since = now
      ready[entry.memory.kind, default: []].append(entry)
      return false
    case .held where now < entry.since.advanced(by: .seconds(1)):
      entry.due = now.advanced(by: .milliseconds(10))
      returned.append(entry)
      return false
    case .held, .failed:
      counted.refused += 1
      letGo(entry.byteCount)
      return true
    }
  }

  private mutating func letGo(_ byteCount: UInt64) {
    leave(byteCount)
    bytesInHand += byteCount
  }

  /// The kind was made, by a heap whose buffers are not pooled. It is not made ahead before the settings change, or a request got
  /// one that is.
  mutating func notKept(_ kind: PoolKind) {
    if settings.stock.contains(where: { PoolKind($0) == kind }) { unkept.insert(kind) }
  }

  /// - Parameter entry: Nil where none could be made.
  /// - Returns: Whether it goes.
  mutating func settle(_ kind: PoolKind, _ entry: PoolEntry?, at now: MonotonicTime) -> Bool {
    guard let entry, !isClosed, waiting == 0, bytes <= settings.byteCount else {
      if entry == nil {
        misses[kind] = nil
        if settings.stock.contains(where: { PoolKind($0) == kind }) {
          failures[kind] = now.advanced(by: settings.idleTime)
        }
      }
      letGo(kind.byteCount)
      return true
    }
    ready[kind, default: []].append(entry)
    return false
  }

  // MARK: What is next

  mutating func pause(at now: MonotonicTime) {
    pausesUntil = now.advanced(by: settings.idleTime)
    misses = [:]
  }

  /// All goes for a request, which is then tried again.
  mutating func beginRetry() { retries += 1 }

  /// Nothing is made for a while where the request got what it lacked; where it did not, what lay here was not in its way.
  mutating func endRetry(isServed: Bool, at now: MonotonicTime) {
    retries -= 1
    if isServed { pause(at: now) }
  }

  enum Step {
    /// Look at it, zero it, and settle it.
    case zero(PoolEntry)
    /// Make one, and settle it: there is room.
    case make(PoolKind)
    case drop([PoolEntry])
    case wait(MonotonicTime?)
    /// The thread ends.
    case end
  }

  /// ``endStep()`` follows.
  mutating func next(at now: MonotonicTime) -> Step {
    let step = nextStep(at: now)
    switch step {
    case .zero, .make: isInHand = true
    case .drop(let entries):
      isInHand = true
      bytesInHand = entries.reduce(0) { $0 + $1.byteCount }
    case .wait, .end: break
    }
    return step
  }

  /// How many wait for what was in hand.
  mutating func endStep() -> Int {
    isInHand = false
    bytesInHand = 0
    defer { waiting = 0 }
    return waiting
  }

  /// Has what the thread has in hand go; false where it has nothing.
  mutating func awaitEndOfStep() -> Bool {
    if isInHand { waiting += 1 }
    return isInHand
  }

  private mutating func nextStep(at now: MonotonicTime) -> Step {
    if !going.isEmpty { return .drop(takeGoing()) }
    if isClosed {
      if buffers > 0 { return .drop(takeAll()) }
      hasThread = false
      return .end
    }
    var tooMany: [PoolEntry] = []
    while bytes > settings.byteCount, let oldest = takeOldest() { tooMany.append(oldest) }
    if !tooMany.isEmpty { return .drop(tooMany) }
    if let index = returned.firstIndex(where: { $0.due <= now }) {
      return .zero(returned.remove(at: index))
    }
    misses = misses.filter { now < $0.value.last.advanced(by: settings.idleTime) }
    failures = failures.filter { now < $0.value }
    if retries == 0, now >= pausesUntil, let kind = missing() {
      enter(kind.byteCount)
      return .make(kind)
    }
    let idle = takeIdle(at: now)
    if !idle.isEmpty { return .drop(idle) }
    return wait(at: now)
  }

  /// How many of each are to be ready: those of the settings, and then those that were missed.
  private var wanted: [(kind: PoolKind, count: Int)] {
    settings.stock.compactMap { stock in PoolKind(stock).map { ($0, stock.count) } }
      + misses.map { ($0.key, $0.value.count) }
  }

  private func wantedCount(of kind: PoolKind) -> Int {
    wanted.reduce(0) { $1.kind == kind ? max($0, $1.count) : $0 }
  }

  private func missing() -> PoolKind? {
    wanted.first { kind, count in
      failures[kind] == nil && !unkept.contains(kind) && hasRoom(for: kind.byteCount)
        && (ready[kind]?.count { $0.memory.isNew } ?? 0) < count
    }?.kind
  }

  /// Which of a kind go when nobody asks for them: all that somebody had, and the oldest of the new beyond as many as are to be ready.
  private func spare(_ kind: PoolKind, _ entries: [PoolEntry]) -> [Int] {
    var surplus = entries.count { $0.memory.isNew } - wantedCount(of: kind)
    return entries.indices.filter { index in
      if !entries[index].memory.isNew { return true }
      surplus -= 1
      return surplus >= 0
    }
  }

  private mutating func takeIdle(at now: MonotonicTime) -> [PoolEntry] {
    var idle: [PoolEntry] = []
    for (kind, entries) in ready {
      for index in spare(kind, entries).reversed()
      where now >= entries[index].since.advanced(by: settings.idleTime) {
        idle.append(remove(kind, at: index))
      }
    }
    return idle
  }

  private mutating func wait(at now: MonotonicTime) -> Step {
    var moment = returned.map(\.due).min()
    for (kind, entries) in ready {
      // The oldest come first.
      if let first = spare(kind, entries).first {
        moment = .earlier(moment, entries[first].since.advanced(by: settings.idleTime))
      }
    }
    for miss in misses.values {
      moment = .earlier(moment, miss.last.advanced(by: settings.idleTime))
    }
    if now < pausesUntil, !(settings.stock.isEmpty && misses.isEmpty) {
      moment = .earlier(moment, pausesUntil)
    }
    for end in failures.values { moment = .earlier(moment, end) }
    if moment == nil, buffers == 0, settings.stock.isEmpty {
      hasThread = false
      return .end
    }
    return .wait(moment)
  }
}
