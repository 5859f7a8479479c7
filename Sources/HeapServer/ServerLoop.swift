internal import CLibrary
internal import HeapPool
internal import HeapProtocol
internal import HeapSurvey
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// The server's one thread, and what it owns: parts that no other thread reaches.
///
/// Each part knows only those that are made before it. What it has to tell the others it keeps until the loop asks, or
/// posts to the mailbox.
final class ServerLoop {
  private let heapName: String
  private let nodes: [String]
  private let kernelCharges: Bool?
  private let pool: PooledHeap?
  private let metricsPage: @Sendable () -> String
  private let manager: ServiceManager?
  private let signals: Signals?
  private let shared: Shared
  /// Read, and not handled yet.
  private var mail: [Message] = []
  private let store: ParentStore?
  private let connections: Connections
  private let entrance: Entrance
  private let acceptor: Acceptor
  private let buffers: ServedBuffers
  private let heapRequests: HeapRequests
  private let observerRequests: ObserverRequests
  private let holderSearch: HolderSearch
  private let metricsReaders: MetricsReaders
  private var isStopping = false
  private var isOver = false

  init(
    sockets: HeapServer.Sockets, policy: Policy, manager: ServiceManager?, log: Logger,
    mailbox: Mailbox, hasInherited: Bool, signals: Signals?, closes: DMABufCloses?,
    heap: any LocalHeap, heapName: String, nodes: [String], kernelCharges: Bool?
  ) throws(Errno) {
    self.heapName = heapName
    self.nodes = nodes
    self.kernelCharges = kernelCharges
    pool = heap as? PooledHeap
    self.manager = manager
    self.signals = signals
    metricsPage = sockets.metricsPage
    let shared = try Shared(pool == nil ? policy : policy.besidePool(), mailbox, log)
    self.shared = shared
    if let pool { shared.descriptors.add(pool.mostDescriptors) }
    if let manager, manager.storeRoom > 0 || hasInherited {
      store = try ParentStore(manager, mailbox, log: log)
    } else {
      store = nil
    }
    connections = Connections(shared)
    entrance = try Entrance(shared, sockets)
    acceptor = Acceptor(shared, entrance, heap.properties, connections)
    buffers = ServedBuffers(
      shared, descriptorsPerBuffer: heap.descriptorsPerBuffer, try CloseReports(shared, closes),
      store, connections)
    heapRequests = HeapRequests(shared, heap, store, buffers, connections)
    observerRequests = try ObserverRequests(shared, buffers, connections)
    holderSearch = HolderSearch(shared, buffers)
    metricsReaders = MetricsReaders(shared, entrance)
    try shared.poller.add(mailbox.descriptor, EventSource(.mailbox))
    if let number = signals?.fd.rawValue { try shared.poller.add(number, EventSource(.signal)) }
  }

  var disposer: Disposer { shared.disposer }

  func takeOver(_ inherited: [InheritedBuffer]) { buffers.takeOver(inherited) }

  // MARK: Turning

  func run() {
    shared.mailbox.isReadHere()
    pool?.closes(by: shared.lastCloses)
    tell { $0.tellReady() }
    keepWatchdogQuiet()
    while !isOver {
      let events = shared.poller.wait(until: nextMoment)
      // A client that hears of a buffer's end may ask for its name or its room at once.
      readMail()
      for index in 0..<events { handle(shared.poller[index]) }
      if let moment = buffers.nextTurn, moment <= .now { buffers.turn() }
      for deadline in shared.deadlines.takeDue() { pass(deadline) }
      // Last, because nothing wakes the loop for what it posted itself.
      readMail()
      buffers.setDeadlines()
      for connection in connections.takeClosed() { buffers.clientLeft(connection) }
      if isStopping && isQuiet { isOver = true }
    }
    connections.closeAll()
    shared.clientLog.finish()
    shared.mailbox.close()
    shared.lastCloses.beginEnd()
    buffers.abandonAll()
    // What workers end may go to the pool, and what is in the pool to workers.
    shared.lastCloses.awaitWork()
    pool?.empty()
    shared.lastCloses.awaitWork()
    pool?.closesNoMore(by: shared.lastCloses)
    shared.lastCloses.finish()
    shared.workers.finish()
    shared.searchers.finish()
    shared.memoryWorkers.finish()
    store?.finish()
  }

  private var nextMoment: MonotonicTime? {
    MonotonicTime.earlier(buffers.nextTurn, shared.deadlines.next)
  }

  private func handle(_ event: Poller.Event) {
    switch event.source.kind {
    case .mailbox: shared.mailbox.clear()
    case .closes: buffers.hear()
    case .dmaBufCloses: buffers.hearOfDMABufs()
    case .heapListener: acceptor.accept(.heap)
    case .observerListener: acceptor.accept(.observer)
    case .connection:
      guard let connection = connections[event.source.id] else { return }
      if event.isWritable { connections.flush(connection) }
      if event.isReadable {
        connections.read(connection, serve)
      } else if event.isHungUp {
        connections.close(connection)
      }
    case .process:
      if let connection = connections.processEnded(event.source.id) {
        buffers.recheckUnreported(of: connection)
      }
    case .metricsListener: metricsReaders.accept()
    case .signal: readSignals()
    case .metricsReader: metricsReaders.serve(event) { page }
    }
  }

  private func serve(
    _ connection: Connection, _ header: MessageHeader, _ message: RawSpan,
    _ handles: consuming StrangerFDs
  ) {
    switch connection.interface {
    case .heap: heapRequests.serve(connection, header, message, handles)
    case .observer:
      observerRequests.serve(connection, header, message, handles) { status }
    }
  }

  private func readMail() {
    while shared.mailbox.hasMail {
      shared.mailbox.take(into: &mail)
      for message in mail { handle(message) }
      mail.removeAll(keepingCapacity: true)
    }
  }

  private func handle(_ message: Message) {
    switch message {
    case .allocated(let allocation): heapRequests.finish(allocation)
    case .reported(let report): observerRequests.finish(report) { status }
    case .closed(let place): buffers.closedByWorker(place)
    case .dropped(let place): buffers.dropped(place)
    case .attached(let failure): buffers.closesAreHeard(failure)
    case .detached: buffers.closesAreUnheard()
    case .searched(let found): holderSearch.end(found)
    case .reload(let policy): take(policy)
    case .stop: beginStop()
    }
  }

  private func pass(_ deadline: Deadline) {
    switch deadline {
    case .stall(let id): connections.dropStalled(id)
    case .unread: connections.dropUnread()
    case .heldUp(let id): connections.lookAgain(at: id)
    case .heldUpListeners: entrance.lookAgain()
    case .deletion(let key): holderSearch.add(key)
    case .unusedFiles: buffers.closeUnusedFiles()
    case .leftOut: shared.clientLog.tellLeftOut()
    case .watchdog: keepWatchdogQuiet()
    case .manager: tell { _ in }
    case .metricsReader(let id): metricsReaders.close(id)
    case .stop: isOver = true
    }
  }

  /// What the manager's socket has no room for now is told soon.
  private func tell(_ message: (ServiceManager) -> Void) {
    guard let manager else { return }
    message(manager)
    if !manager.sendUntold() { shared.deadlines.set(.manager, after: 5) }
  }

  /// Twice as often as the manager asks, from the loop itself: so that a hanging loop is noticed.
  private func keepWatchdogQuiet() {
    guard let interval = manager?.watchdogInterval else { return }
    tell { $0.tellAlive() }
    shared.deadlines.set(.watchdog, after: max(interval.nanoseconds / 2_000_000, 1))
  }

  // MARK: Signals

  private func readSignals() {
    while let signal = signals?.next() {
      switch signal {
      case .stop: beginStop()
      case .reload: reload()
      }
    }
  }

  /// A worker reads the configuration: the names in it may be looked up on another machine (nsswitch.conf(5)). An invalid file
  /// changes nothing.
  private func reload() {
    guard let signals else { return }
    shared.searchers.run(in: Workers.Lane(0, of: .server)) {
      [mailbox = shared.mailbox, log = shared.log] in
      do throws(HeapError) { mailbox.post(.reload(try signals.readPolicy())) } catch {
        log.error("reload failed", metadata: ["error": "\(error)"])
      }
    }
  }

  private func take(_ policy: Policy) {
    tell { $0.tellReloading() }
    shared.accounts.change(pool == nil ? policy : policy.besidePool())
    pool?.change(policy.pool)
    shared.log.notice("configuration reloaded")
    if pool == nil, policy.pool.byteCount > 0 {
      shared.log.notice("there is no pool: pool-bytes takes effect at a restart")
    }
    tell { $0.tellReady() }
  }

  // MARK: What all parts tell together

  private var page: String {
    shared.metrics.show(connections: shared.accounts.all.connections, orphans: buffers.orphanCount)
    if let pool { shared.metrics.show(pool.figures) }
    return metricsPage()
  }

  private var status: Status {
    Status(
      heap: heapName, nodes: nodes, takesClientMemory: heapRequests.takesClientMemory,
      kernelCharges: kernelCharges, limits: shared.accounts.limits,
      total: shared.accounts.all.usage, group: shared.accounts.group.usage,
      others: shared.accounts.others.usage,
      users: shared.accounts.users.map { ($0, $1.connections, $1.usage) },
      clients: connections.open.map {
        ($0.id, $0.interface, $0.peer, $0.requests, $0.waits, $0.usage)
      },
      buffers: buffers.status, highWater: shared.metrics.highWater, orphans: buffers.orphanCount,
      unclosed: shared.disposer.unclosed, reclaimer: buffers.counters, pool: pool?.figures)
  }

  // MARK: Stopping

  private func beginStop() {
    guard !isStopping else { return }
    isStopping = true
    tell { $0.tellStopping() }
    shared.log.notice("stopping", metadata: ["buffers": "\(buffers.count)"])
    entrance.stop()
    connections.stopReading()
    shared.deadlines.set(.stop, after: 2_000)
  }

  /// What is under way is answered, and no new vmo is on its way here, also to a client that is gone.
  /// Deletions that wait for another process are not: it may take for ever, and the buffers outlive this
  /// server.
  private var isQuiet: Bool {
    heapRequests.running == 0 && buffers.isQuiet && connections.areAnswered
  }
}
