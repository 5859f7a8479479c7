internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// The server's one thread, and what it owns: parts that no other thread reaches.
///
/// Each part knows only those that are made before it. What it has to tell the others it keeps until the loop asks, or
/// posts to the mailbox.
final class ServerLoop {
  private let heapName: String
  private let metricsPage: @Sendable () -> String
  private let manager: ServiceManager?
  private let signals: Signals?
  private let shared: Shared
  /// Read, and not handled yet.
  private var mail: [Message] = []
  private let reclaimer: Reclaimer
  private let slowReclaims = SlowReclaims()
  private let store: ParentStore?
  private let connections: Connections
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
    mailbox: Mailbox, hasInherited: Bool, signals: Signals?, closes: (any CloseHints)?,
    heapName: String,
    makeHeap: HeapServer.MakeHeap
  ) throws(Errno) {
    self.heapName = heapName
    self.manager = manager
    self.signals = signals
    metricsPage = sockets.metricsPage
    let shared = try Shared(policy, mailbox, log)
    self.shared = shared
    let (workers, slowReclaims) = (shared.workers, self.slowReclaims)
    reclaimer = try Reclaimer(drivenByCaller: Reclaimer.Recheck(), hints: closes) { work in
      workers.run(in: slowReclaims.begin()) {
        work()
        slowReclaims.end()
        mailbox.post(.wentBack)
      }
    }
    let heap = makeHeap(reclaimer)
    if let manager, manager.keepsDescriptors || hasInherited {
      store = try ParentStore(manager, heap.buffers, mailbox, log: log)
    } else {
      store = nil
    }
    connections = Connections(shared)
    acceptor = try Acceptor(shared, sockets, heap.properties, connections)
    buffers = ServedBuffers(shared, heap, reclaimer, store, connections)
    heapRequests = HeapRequests(shared, heap, store, buffers, connections)
    observerRequests = ObserverRequests(shared, heap, buffers, connections)
    holderSearch = HolderSearch(shared, buffers)
    metricsReaders = try MetricsReaders(shared, sockets.metrics)
    try shared.poller.add(mailbox.descriptor, EventSource(.mailbox))
    for descriptor in reclaimer.descriptors {
      try shared.poller.add(descriptor, EventSource(.reclaimer))
    }
    if let number = signals?.fd.rawValue { try shared.poller.add(number, EventSource(.signal)) }
  }

  func takeOver(_ inherited: [InheritedBuffer]) { buffers.takeOver(inherited) }

  // MARK: Turning

  func run() {
    shared.mailbox.isReadHere()
    manager?.tellReady()
    keepWatchdogQuiet()
    while !isOver {
      let events = shared.poller.wait(until: nextMoment)
      // A client that hears of a buffer's end may ask for its name or its room at once.
      readMail()
      for index in 0..<events { handle(shared.poller[index]) }
      if let moment = reclaimer.nextTurn, moment <= .now { turnReclaimer() }
      for deadline in shared.deadlines.takeDue() { pass(deadline) }
      // Last, because nothing wakes the loop for what it posted itself.
      readMail()
      buffers.setDeadlines()
      for connection in connections.takeClosed() { buffers.clientLeft(connection) }
      if isStopping && isQuiet { isOver = true }
    }
    connections.closeAll()
    shared.mailbox.close()
    // Whoever holds a buffer keeps it, and so does the manager's store.
    reclaimer.abandonAll()
    shared.workers.finish()
    store?.finish()
    shared.closeQueue.finish()
  }

  private var nextMoment: MonotonicTime? {
    guard let turn = reclaimer.nextTurn else { return shared.deadlines.next }
    return shared.deadlines.next.map { min($0, turn) } ?? turn
  }

  private func turnReclaimer() {
    reclaimer.turn()
    readMail()
  }

  private func handle(_ event: Poller.Event) {
    switch event.source.kind {
    case .mailbox: shared.mailbox.clear()
    case .reclaimer: turnReclaimer()
    case .heapListener: acceptor.accept(.heap)
    case .observerListener: acceptor.accept(.observer)
    case .connection:
      guard let connection = connections[event.source.id] else { return }
      if event.isWritable { connections.flush(connection) }
      if event.isReadable {
        connections.read(connection, serve)
        // Where DeleteVmo brought the last handle the buffer is gone already.
        readMail()
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
    _ handles: consuming ReceivedDescriptors
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
    case .reported(let report): observerRequests.finish(report)
    case .reclaimed(let key): buffers.reclaimed(key)
    case .onlyCopies(let key): buffers.withdraw(key)
    case .dropped(let key):
      buffers.dropped(key)
      // Before anyone asks whether all is quiet.
      reclaimer.turn()
    case .wentBack: break
    case .searched: holderSearch.goOn()
    case .reload(let policy): take(policy)
    case .stop: beginStop()
    }
  }

  private func pass(_ deadline: Deadline) {
    switch deadline {
    case .stall(let id): connections.dropStalled(id)
    case .heldUp(let id): connections.lookAgain(at: id)
    case .heldUpListeners: acceptor.lookAgain()
    case .deletion(let key): holderSearch.add(key)
    case .watchdog: keepWatchdogQuiet()
    case .metricsReader(let id): metricsReaders.close(id)
    case .stop: isOver = true
    }
  }

  /// Twice as often as the manager asks, from the loop itself: so that a hanging loop is noticed.
  private func keepWatchdogQuiet() {
    guard let manager, let interval = manager.watchdogInterval else { return }
    manager.tellAlive()
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

  /// An invalid file changes nothing.
  private func reload() {
    do throws(HeapError) {
      if let signals { take(try signals.readPolicy()) }
    } catch {
      shared.log.error("reload failed", metadata: ["error": "\(error)"])
    }
  }

  private func take(_ policy: Policy) {
    manager?.tellReloading()
    shared.accounts.change(policy)
    shared.log.notice("configuration reloaded")
    manager?.tellReady()
  }

  // MARK: What all parts tell together

  private var page: String {
    shared.metrics.show(connections: shared.accounts.connections, orphans: buffers.orphanCount)
    return metricsPage()
  }

  private var status: Status {
    Status(
      heap: heapName, limits: shared.accounts.limits, total: shared.accounts.total,
      users: shared.accounts.users.map { ($0, $1.connections, $1.usage) },
      clients: connections.open.map {
        ($0.id, $0.interface, $0.peer, $0.requests, $0.waits, $0.usage)
      },
      buffers: buffers.status, highWater: shared.metrics.highWater, orphans: buffers.orphanCount,
      reclaimer: reclaimer.counters)
  }

  // MARK: Stopping

  private func beginStop() {
    guard !isStopping else { return }
    isStopping = true
    manager?.tellStopping()
    shared.log.notice("stopping", metadata: ["buffers": "\(buffers.count)"])
    acceptor.stop()
    metricsReaders.stop()
    connections.stopReading()
    shared.deadlines.set(.stop, after: 2_000)
  }

  /// What is under way is answered, and no new vmo is on its way here, also to a client that is gone.
  /// Deletions that wait for another process are not: it may take for ever, and the buffers outlive this
  /// server.
  private var isQuiet: Bool {
    slowReclaims.areDone && heapRequests.running == 0 && buffers.isQuiet && connections.areAnswered
  }
}

/// Buffers that workers take back. Each has a lane of its own, because none must wait for another.
private final class SlowReclaims: Sendable {
  private struct State {
    var last: UInt64 = 0
    var running = 0
  }

  private let state = Guarded(State())

  var areDone: Bool { state.withLock { $0.running == 0 } }

  func begin() -> Workers.Lane {
    state.withLock { state in
      state.last += 1
      state.running += 1
      return Workers.Lane(state.last, of: .server)
    }
  }

  func end() { state.withLock { $0.running -= 1 } }
}
