internal import CLibrary
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// The buffers that are not fully reclaimed. Each has one record in the table, and at the same place whose it is, who waits
/// for its end, and whether the manager keeps a copy of it.
///
/// The loop owns them, so nothing here is locked. What takes long is done by workers, who get what they need and post what
/// came of it; a record's place stays its own until then.
final class ServedBuffers {
  private var table = BufferTable(Reclaimer.Recheck())
  /// By place.
  private var served: [ServedBuffer?] = []
  private let number = HeapNumber.next()
  /// Of reports, whose keys count them.
  private let reportNumber = HeapNumber.next()
  private var lastReport: UInt64 = 0
  private let counts: FDInfoFiles
  /// Whether a moment is set at which they are closed.
  private var countsCloseSoon = false
  private let reports: CloseReports
  /// Of the table's looks.
  private(set) var counters = Reclaimer.Counters()
  /// Deleted in this turn of the loop.
  private var deleted: [Int] = []
  /// Those whose parents a worker closes.
  private var closing = 0
  /// Those of which the manager is told to let go.
  private var dropping = 0
  /// Who is to be answered that a buffer has ended, the first last.
  private var unanswered: [Waiting] = []
  private let shared: Shared
  private let descriptorsPerBuffer: Int
  private let store: ParentStore?
  private let connections: Connections

  init(
    _ shared: Shared, descriptorsPerBuffer: Int, _ reports: CloseReports, _ store: ParentStore?,
    _ connections: Connections
  ) {
    self.shared = shared
    self.descriptorsPerBuffer = descriptorsPerBuffer
    self.reports = reports
    self.store = store
    self.connections = connections
    let counts = FDInfoFiles(ofStrangers: true)
    self.counts = counts
    shared.descriptors.add(counts.most)
  }

  // MARK: Finding

  /// Nil where (collection, index) is free.
  func place(of key: BufferKey) -> Int? { table.place(of: key, in: number) }

  /// As long as there may be children.
  func place(of identity: VMOIdentity) -> Int? {
    guard let place = table.place(of: identity), !served[place]!.isReport else { return nil }
    return place
  }

  /// The live buffer that a handle is of; nil once its deletion has begun.
  func liveKey(of identity: VMOIdentity) -> BufferKey? {
    guard let place = place(of: identity), table[place].state == .live else { return nil }
    return key(at: place)
  }

  func key(at place: Int) -> BufferKey { table[place].key }

  private func storedName(of place: Int) -> StoredBufferName {
    served[place]!.storedName(key(at: place))
  }

  private func metadata(of place: Int) -> Logger.Metadata {
    served[place]!.metadata(key(at: place))
  }

  // MARK: Coming

  /// Puts a buffer, whose key is free, on its user's account.
  ///
  /// - Parameter charge: As many bytes of it as count.
  /// - Returns: Its place, or which quota is used up.
  func add(
    _ key: BufferKey, _ size: UInt64, charge: UInt64, for connection: Connection
  ) -> Reservation {
    if let refusal = shared.accounts.charge(charge, to: connection) { return .refused(refusal) }
    return .place(enter(key, ServedBuffer(size, charge: charge, of: connection.user, connection)))
  }

  /// The manager is to keep its parent, where its store has a place for the user's.
  func takeStorePlace(_ place: Int, for connection: Connection) -> Bool {
    guard let store, shared.accounts.takeStorePlace(for: connection, of: store.room) else {
      return false
    }
    served[place]!.storing = .kept
    return true
  }

  enum Reservation {
    case place(Int)
    case refused(StaticString)
  }

  /// The same of a report's memory, which is made already.
  func addReport(_ size: UInt64, for connection: Connection) -> Reservation {
    if let refusal = shared.accounts.charge(size, to: connection, isReport: true) {
      return .refused(refusal)
    }
    lastReport += 1
    return .place(
      enter(
        BufferKey(bufferCollectionID: 0, bufferIndex: lastReport),
        ServedBuffer(size, of: connection.user, connection, isReport: true)))
  }

  private func enter(_ key: BufferKey, _ buffer: ServedBuffer) -> Int {
    let place = table.reserve(key, in: buffer.isReport ? reportNumber : number)!
    while served.count <= place { served.append(nil) }
    served[place] = buffer
    shared.descriptors.add(descriptorsPerBuffer)
    assert(sumsAgree)
    return place
  }

  /// The memory is made.
  ///
  /// - Parameter copies: How many of its parent's descriptor the manager keeps that look like children.
  /// - Returns: The first child, which is to be sent. ``sent(_:)`` says that it is on its way, or gone.
  func settle(
    _ place: Int, _ memory: consuming BufferMemory, copies: Int
  ) throws(Errno) -> PassedHandle {
    let (heap, parent) = (memory.heapName, memory.parent)
    served[place]!.heap = heap
    do throws(Errno) {
      let child: PassedHandle =
        parent.kind == .dmaBuf ? .lent(parent) : .owned(try parent.openChild())
      try settle(place, parent, memory.settled(), copies: copies)
      if served[place]!.isReport { return child }
      shared.metrics.allocated(served[place]!.size, heap: heap)
      shared.log.debug("buffer allocated", metadata: metadata(of: place))
      return child
    } catch {
      // The manager has its copy already.
      if served[place]!.storing == .kept { store?.drop(storedName(of: place), at: nil) }
      throw error
    }
  }

  /// - Parameter charge: Ended where that fails.
  private func settle(
    _ place: Int, _ parent: any Parent, _ charge: Admission.Charge, copies: Int
  ) throws(Errno) {
    let watch: CloseEvents.Watch?
    do throws(Errno) { watch = try reports.watch(parent) } catch {
      charge.end()
      throw error
    }
    if watch == nil {
      served[place]!.isUnreported = true
      served[place]!.connection?.unreportedBuffers += 1
    }
    table.settle(place, parent, watch, charge, copies: copies)
    reports.begin(place, of: &table)
  }

  /// Its first child is on its way.
  func sent(_ place: Int) {
    // A look at once would find it there, and most are deleted before this one.
    if served[place]!.isUnreported, !table[place].isHinted {
      table.startSoon(place, at: .now, within: 8_000_000)
    }
  }

  /// No memory could be made.
  func cancel(_ place: Int) {
    let ended = table.gone(place)
    _ = leave(place)
    tellTrackers(of: ended)
  }

  /// Takes a buffer off its user's account.
  private func leave(_ place: Int) -> ServedBuffer {
    let buffer = served[place].take()!
    if buffer.storing != .no { shared.accounts.leaveStorePlace(of: buffer.user) }
    shared.accounts.refund(buffer)
    shared.descriptors.remove(descriptorsPerBuffer)
    assert(sumsAgree)
    return buffer
  }

  // MARK: Going

  enum Deletion { case begun, unknown, wrongHandle }

  /// Takes a handle back. A handle that tells no identity, as of a file system that fails, is no buffer's.
  ///
  /// - Parameter waiting: Who is answered at the end, which may have come on return. Where the deletion has begun before,
  ///   it joins.
  func delete(_ key: BufferKey, _ handle: consuming StrangerFD, _ waiting: Waiting) -> Deletion {
    guard let place = place(of: key) else { return .unknown }
    guard let identity = handle.identity,
      case .begun = table.beginDeletion(place, identity, nil)
    else { return .wrongHandle }
    wait(for: place, waiting)
    reports.pause(place, of: &table)
    _ = handle.asChild()
    look(place)
    return .begun
  }

  /// Hears what was closed, where something was reported.
  func hear() { reports.read(into: &table, at: .now) }

  func hearOfDMABufs() { reports.readOfDMABufs(into: &table, at: .now) }

  /// Looks at the buffers that are due.
  func turn() {
    answerSome()
    let now = MonotonicTime.now
    counters.wakeups += 1
    reports.check(&table, at: now)
    let due = table.takeDue(at: now, atMost: Self.mostLooks)
    var onlyLooked = !due.isEmpty
    for place in due where !look(place) { onlyLooked = false }
    if onlyLooked {
      table.learn(MonotonicTime.now.nanoseconds - now.nanoseconds, for: due.count)
    }
  }

  /// In one turn. A client that hangs up leaves hundreds, and others wait for each turn of theirs: a request takes three or four.
  private static let mostLooks = 8

  /// When to turn at the latest.
  var nextTurn: MonotonicTime? {
    if !unanswered.isEmpty { return .now }
    return MonotonicTime.earlier(table.nextLook, reports.nextCheck)
  }

  /// Asks the kernel about one buffer, and takes it back if no child is left. True where that was all: it has children.
  @discardableResult func look(_ place: Int) -> Bool {
    // Nothing can be learned before the manager has heard.
    if served[place]?.storing == .dropping { return false }
    guard let children = ask(place) else { return false }
    // Of reports nobody asks: the one before would count in each.
    if !served[place]!.isReport { counters.checks += 1 }
    switch table.endLook(place, children, at: .now) {
    case .wait: return true
    // Only another thread could have asked meanwhile.
    case .again: return true
    case .copies: withdraw(place)
    case .going(let going): close(going)
    }
    return false
  }

  /// Nothing of the buffer's is held on return.
  ///
  /// To read the count takes a reference and drops it, which would be heard as the close of a child.
  private func ask(_ place: Int) -> Children? {
    guard let family = table.beginLook(place) else { return nil }
    reports.pause(place, of: &table)
    let children = family.children(counts, shared.log)
    if children == .none { return children }
    reports.begin(place, of: &table)
    // What closed meanwhile was not heard.
    return table[place].isHinted ? family.children(counts, shared.log) : children
  }

  private func close(_ going: consuming BufferTable.Going) {
    reports.end(going)
    let (place, charge) = (going.place, going.charge)
    guard served[place]!.size > 1 << 20 || going.isDMABuf else {
      _ = consume going
      charge?.end()
      return closed(place)
    }
    closing += 1
    let box = Guarded<BufferTable.Going?>(going)
    shared.lastCloses.close(of: served[place]!.user.id) {
      box.withLock { $0!.lastDescriptors() }
    } _: {
      box.withLock { $0 = nil }
    } closed: { [mailbox = shared.mailbox] in
      charge?.end()
      mailbox.post(.closed(place))
    }
  }

  func closedByWorker(_ place: Int) {
    closing -= 1
    closed(place)
  }

  /// All of the buffer is gone, but for a copy of its parent in the store.
  private func closed(_ place: Int) {
    if !served[place]!.isReport { counters.reclaimed += 1 }
    served[place]!.isClosed = true
    switch served[place]!.storing {
    case .no: forget(place)
    case .kept: drop(place)
    case .dropping: break
    }
  }

  /// The store's copy alone may be left of it; the count does not tell it from a child.
  private func withdraw(_ place: Int) {
    if served[place]!.storing == .kept { return drop(place) }
    copiesAreGone(place)
    table.startOver(place, at: .now)
  }

  /// From now on the count tells of children alone.
  private func copiesAreGone(_ place: Int) {
    table.setCopies(0, of: place)
    reports.beginAnew(place, of: &table)
  }

  private func drop(_ place: Int) {
    served[place]!.storing = .dropping
    dropping += 1
    store?.drop(storedName(of: place), at: place)
  }

  /// The manager has heard that it should let go of its copy.
  func dropped(_ place: Int) {
    dropping -= 1
    served[place]!.storing = .no
    shared.accounts.leaveStorePlace(of: served[place]!.user)
    if served[place]!.isClosed { return forget(place) }
    // A worker closes its parent.
    if !table[place].state.hasMemory { return }
    copiesAreGone(place)
    // At once, and before anyone asks whether all is quiet.
    look(place)
  }

  /// Whether no buffer is on its way out that waits for a worker or the manager alone, and nobody for its end.
  var isQuiet: Bool { closing == 0 && dropping == 0 && unanswered.isEmpty }

  /// After all of a buffer is gone.
  private func forget(_ place: Int) {
    let key = key(at: place)
    let ended = table.gone(place)
    let buffer = leave(place)
    if buffer.hasDeadline { shared.deadlines.cancel(.deletion(key)) }
    if !buffer.isReport {
      shared.metrics.reclaimed(buffer.size, heap: buffer.heap)
      shared.log.debug("buffer reclaimed", metadata: buffer.metadata(key))
    }
    if buffer.isUnreported, let connection = buffer.connection {
      connection.unreportedBuffers -= 1
      connections.forgetIfGone(connection)
    }
    end(ended, key, buffer)
  }

  private func tellTrackers(of ended: BufferTable.Ended?) {
    if table.isEmpty {
      reports.emptied()
      closeCountsSoon()
    }
    if let ended { for tracker in ended.trackers { tracker.close() } }
  }

  /// Files with counts stay open from one buffer to the next. Hundreds that lived at once leave hundreds of files.
  private func closeCountsSoon() {
    guard !countsCloseSoon, !counts.isEmpty else { return }
    countsCloseSoon = true
    shared.deadlines.set(.unusedFiles, after: 1_000)
  }

  func closeUnusedFiles() {
    countsCloseSoon = false
    if table.isEmpty { counts.close() }
  }

  private func end(_ ended: BufferTable.Ended?, _ key: BufferKey, _ buffer: ServedBuffer) {
    tellTrackers(of: ended)
    tellOwner(of: key, buffer)
    if let deletion = buffer.deletion { answer(deletion) }
    if buffer.waiting.isEmpty { return }
    unanswered.insert(contentsOf: buffer.waiting.reversed(), at: 0)
    answerSome()
  }

  /// Each is a call to the kernel, and one buffer's end can be awaited by tens of thousands: the rest hears of it in the turns to come.
  private func answerSome() {
    for _ in 0..<64 {
      guard let waiting = unanswered.popLast() else { return }
      answer(waiting)
    }
  }

  /// Each end is told once: whoever waits for a deletion's answer hears it by that.
  private func tellOwner(of key: BufferKey, _ buffer: ServedBuffer) {
    guard let owner = buffer.connection, owner.watchesBuffers, owner.isOpen,
      buffer.deletion?.connection !== owner,
      !buffer.waiting.contains(where: { $0.connection === owner })
    else { return }
    connections.send(OnReclaimedEvent(key: key), to: owner)
  }

  /// Whoever holds children keeps the memory, and so does the manager's store.
  func abandonAll() {
    var place = -1
    while let going = table.abandon(after: place) {
      place = going.place
      reports.end(going)
      going.charge?.end()
      // Of what others hold this is not the last close, unless they let go meanwhile.
      let isHeld = !going.isDMABuf || going.children(counts, shared.log) != .none
      let (descriptors, user) = (going.lastDescriptors(), served[place]!.user.id)
      let box = Guarded<BufferTable.Going?>(going)
      shared.lastCloses.leave(descriptors, of: user, isHeld: isHeld) {
        box.withLock { $0 = nil }
      }
    }
    reports.finish()
  }

  // MARK: How closes are heard

  func closesAreHeard(_ failure: HeapError?) { reports.attached(failure, &table) }

  func closesAreUnheard() { reports.detached(table) }

  // MARK: Answers that wait for a buffer's end

  // They go with their connection, and not with the buffer, which may be held for ever.

  func wait(for place: Int, _ waiting: Waiting) {
    shared.accounts.wait(waiting.connection, 1)
    if waiting.deletionBegan != nil, served[place]!.deletion == nil {
      served[place]!.deletion = waiting
      deleted.append(place)
    } else {
      served[place]!.waiting.append(waiting)
    }
  }

  private func answer(_ waiting: Waiting) {
    let connection = waiting.connection
    guard connection.isOpen else { return }
    shared.accounts.wait(connection, -1)
    if let began = waiting.deletionBegan {
      shared.metrics.deleted(since: began)
      connections.send(DeleteVmoReply(), waiting.transaction, to: connection)
    } else {
      connections.send(
        AwaitReclaimedReply(.success(EmptyTable())), waiting.transaction, to: connection)
    }
  }

  /// At the end of a turn: memfds whose last handle came with DeleteVmo are gone by now, and their places may be others'.
  func setDeadlines() {
    while let place = deleted.popLast() {
      guard let buffer = served[place], buffer.deletion != nil, !buffer.hasDeadline else {
        continue
      }
      served[place]!.hasDeadline = true
      shared.deadlines.set(.deletion(key(at: place)), after: 5_000)
    }
  }

  // MARK: Collections

  func track(_ collection: UInt64, _ tracker: LifetimeTracker) {
    if table.attach(tracker, to: collection, of: number) { tracker.close() }
  }

  // MARK: Clients that go

  func clientLeft(_ connection: Connection) {
    if connection.waits > 0 {
      for place in served.indices where served[place] != nil {
        if served[place]!.deletion?.connection === connection { served[place]!.deletion = nil }
        served[place]!.waiting.removeAll { $0.connection === connection }
      }
      shared.accounts.wait(connection, -connection.waits)
    }
    recheckUnreported(of: connection)
    connections.forgetIfGone(connection)
  }

  /// Those that it may have held, whose last close the kernel does not report.
  func recheckUnreported(of connection: Connection) {
    if connection.unreportedBuffers == 0 { return }
    recheckUnreported(at: .now) { $0.connection === connection }
  }

  private func recheckUnreported(at now: MonotonicTime, where isMeant: (ServedBuffer) -> Bool) {
    for (place, buffer) in served.enumerated() {
      if let buffer, buffer.isUnreported, isMeant(buffer), table[place].state.hasMemory {
        table.startOver(place, at: now)
      }
    }
  }

  /// A request of the user was refused for want of room: what it has closed may not be noticed yet. Ten times a second at most,
  /// and for three percent of a processor.
  func lookForRoom(of user: Accounts.User) {
    let now = MonotonicTime.now
    if now < user.nextLookForRoom { return }
    user.nextLookForRoom.nanoseconds = now.nanoseconds + max(100_000_000, 32 * table.round)
    recheckUnreported(at: now) { $0.user === user }
  }

  // MARK: Asking

  /// What a search for the holders of a deleted buffer needs; nil where it is gone.
  func held(
    _ key: BufferKey
  ) -> (identity: VMOIdentity, user: uid_t, metadata: Logger.Metadata)? {
    guard let place = place(of: key), let parent = table[place].family.first else { return nil }
    return (parent.identity, served[place]!.user.id, metadata(of: place))
  }

  /// A buffer that is only being closed.
  func closing(_ key: BufferKey) -> (user: uid_t, metadata: Logger.Metadata)? {
    guard let place = place(of: key), table[place].family.first == nil else { return nil }
    return (served[place]!.user.id, metadata(of: place))
  }

  var count: Int { table.count }

  private var all: some Sequence<(place: Int, buffer: ServedBuffer)> {
    served.lazy.enumerated().compactMap { place, buffer in buffer.map { (place, $0) } }
  }

  private var allButReports: some Sequence<(place: Int, buffer: ServedBuffer)> {
    all.lazy.filter { !$0.buffer.isReport }
  }

  /// Live buffers whose connection is gone.
  var orphanCount: Int { allButReports.count { $0.buffer.isOrphan } }

  var status: [Status.Buffer] {
    allButReports.map { place, buffer in
      (
        key(at: place), buffer.size, buffer.heap, buffer.user.id, buffer.connection?.peer.process,
        buffer.isOrphan
      )
    }
  }

  /// Whether the accounts say what the buffers say, as far as that is told soon.
  private var sumsAgree: Bool {
    if table.count > 64 { return true }
    var total = Usage()
    var users: [uid_t: Usage] = [:]
    var owners: [UInt64: (usage: Usage, connection: Connection)] = [:]
    for (_, buffer) in all {
      total.add(buffer.charge)
      users[buffer.user.id, default: Usage()].add(buffer.charge)
      guard let connection = buffer.connection else { continue }
      owners[connection.id, default: (Usage(), connection)].usage.add(buffer.charge)
    }
    return total == shared.accounts.all.usage
      && users == shared.accounts.users.mapValues(\.usage).filter { $0.value.buffers > 0 }
      && owners.values.allSatisfy { $0.usage == $0.connection.usage }
  }

  // MARK: The buffers of the server before this one

  /// Takes up what the server before this one left: info, deletions and quotas go on.
  func takeOver(_ buffers: [InheritedBuffer]) {
    guard !buffers.isEmpty else { return }
    var bytes: UInt64 = 0
    for buffer in buffers { bytes += takeOver(buffer) }
    shared.log.notice(
      "took over the previous server's buffers",
      metadata: ["buffers": "\(count)", "bytes": "\(bytes.asByteCount)"])
  }

  private func takeOver(_ inherited: InheritedBuffer) -> UInt64 {
    guard let descriptor = inherited.takeDescriptor() else { return 0 }
    let name = inherited.name
    guard place(of: name.key) == nil else {
      // Of two under one name the manager would drop both.
      tell(name, HeapError(.alreadyExists, "take over \(name.key)", cause: "that buffer is live"))
      return 0
    }
    do throws(HeapError) {
      let (parent, size, admitted) = try BufferMemory.inherited(descriptor, name.key)
      let bytes = parent.kind == .opaque ? 0 : size
      let charge = name.heap == ClientMemory.heapName ? 0 : bytes
      let user = shared.accounts.takeOver(charge, of: name.user)
      let place = enter(name.key, ServedBuffer(bytes, charge: charge, of: user, nil))
      // Two of our own: this process's, and the manager's.
      do throws(Errno) { try settle(place, parent, admitted, copies: 1) } catch {
        cancel(place)
        throw HeapError(error, "take over \(name.key)")
      }
      served[place]!.heap = name.heap
      if store != nil {
        served[place]!.storing = .kept
        shared.accounts.takeStorePlace(for: user)
      }
      shared.metrics.tookOver(bytes, heap: name.heap)
      table.startOver(place, at: .now)
      return bytes
    } catch {
      tell(name, error)
      store?.drop(name, at: nil)
      return 0
    }
  }

  private func tell(_ name: StoredBufferName, _ error: HeapError) {
    shared.log.error(
      "a stored descriptor is unusable",
      metadata: ["name": "\(name.description)", "error": "\(error)"])
  }
}
