internal import CoreMetrics
internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// The server's state, on its one thread; nothing here is reached from another.
final class ServerLoop {
  let heap: any LocalHeap
  let heapName: String
  let log: Logger
  let mailbox: Mailbox
  let workers: Workers
  let closeQueue: CloseQueue
  /// Handles of AttachLifetimeTracking that are not due.
  let trackers = UserCounts()
  let store: ParentStore?
  let metrics = ServerMetrics()
  private let manager: ServiceManager?
  private let signals: Signals?
  let sockets: HeapServer.Sockets
  private let reclaimer: Reclaimer
  private let slowReclaims: SlowReclaims
  let poller: Poller

  var policy: Policy
  var connections: [UInt64: Connection] = [:]
  var clients: [UInt64: Client] = [:]
  var metricsReaders: [UInt64: MetricsReader] = [:]
  var userConnections: [uid_t: Int] = [:]
  /// Per user, of connections that were refused at once.
  var refusedUsers: [uid_t: RefusalLog] = [:]
  var ledger = Ledger()
  var waiting: [BufferKey: [Waiting]] = [:]
  var deadlines = Deadlines<Deadline>()
  var input = ReceiveBuffer(capacity: WireLimits.maxBytes)
  /// The message being encoded.
  var output: [UInt8] = []
  var headroom = DescriptorHeadroom()
  /// Handles in messages that clients have not read.
  var unsentHandles = 0
  /// On workers; each has a child here for a while.
  var runningAllocations = 0
  /// Deleted buffers that are still held, whose holders are to be searched for.
  var overdueDeletions: [BufferKey] = []
  var isSearching = false
  private var lastID: UInt64 = 0
  private(set) var isStopping = false
  private var isOver = false

  enum Deadline: Hashable {
    /// A client has not read what was sent to it.
    case stall(connection: UInt64)
    /// Check again whether the files that a client's user sent are closed.
    case heldUp(connection: UInt64)
    /// The same, while no connection is accepted.
    case heldUpListeners
    /// A deleted buffer is still held.
    case deletion(BufferKey)
    case watchdog
    /// A metrics reader takes too long.
    case metricsReader(UInt64)
    /// A graceful stop ends, whatever is left.
    case stop
  }

  init(
    sockets: HeapServer.Sockets, policy: Policy, manager: ServiceManager?, log: Logger,
    mailbox: Mailbox, hasInherited: Bool, signals: Signals?, heapName: String,
    makeHeap: HeapServer.MakeHeap
  ) throws(Errno) {
    self.sockets = sockets
    self.heapName = heapName
    self.policy = policy
    self.manager = manager
    self.signals = signals
    self.log = log
    self.mailbox = mailbox
    let workers = try Workers()
    self.workers = workers
    closeQueue = try CloseQueue()
    let slowReclaims = SlowReclaims()
    self.slowReclaims = slowReclaims
    reclaimer = try Reclaimer(drivenByCaller: Reclaimer.Recheck()) { work in
      workers.run(in: slowReclaims.begin()) {
        work()
        slowReclaims.end()
        mailbox.post(.wentBack)
      }
    }
    heap = makeHeap(reclaimer)
    store = manager.flatMap {
      $0.keepsDescriptors || hasInherited ? ParentStore($0, log: log) : nil
    }
    poller = try Poller()
    try poller.add(mailbox.descriptor, EventSource(.mailbox))
    for descriptor in reclaimer.descriptors { try poller.add(descriptor, EventSource(.reclaimer)) }
    try poller.add(sockets.heap.fd.rawValue, EventSource(.heapListener))
    try poller.add(sockets.observer.fd.rawValue, EventSource(.observerListener))
    if let number = signals?.fd.rawValue { try poller.add(number, EventSource(.signal)) }
    if let number = sockets.metrics?.fd.rawValue {
      try poller.add(number, EventSource(.metricsListener))
    }
  }

  func newID() -> UInt64 {
    lastID += 1
    return lastID
  }

  // MARK: Turning

  func run() {
    mailbox.isReadHere()
    manager?.tellReady()
    keepWatchdogQuiet()
    while !isOver {
      let events = poller.wait(until: nextMoment)
      // A client that hears of a buffer's end may ask for its name or its room at once.
      readMail()
      for event in events { handle(event) }
      if let moment = reclaimer.nextTurn, moment <= .now { turnReclaimer() }
      for deadline in deadlines.takeDue() { pass(deadline) }
      // Last, because nothing wakes the loop for what it posted itself.
      readMail()
      if isStopping && isQuiet { isOver = true }
    }
    for connection in Array(connections.values) { close(connection) }
    mailbox.close()
    // Whoever holds a buffer keeps it, and so does the manager's store.
    reclaimer.abandonAll()
    workers.finish()
    closeQueue.finish()
  }

  private var nextMoment: MonotonicTime? {
    guard let turn = reclaimer.nextTurn else { return deadlines.next }
    return deadlines.next.map { min($0, turn) } ?? turn
  }

  private func turnReclaimer() {
    reclaimer.turn()
    readMail()
  }

  private func handle(_ event: Poller.Event) {
    switch event.source.kind {
    case .mailbox: mailbox.clear()
    case .reclaimer: turnReclaimer()
    case .heapListener: accept(.heap)
    case .observerListener: accept(.observer)
    case .connection:
      guard let connection = connections[event.source.id] else { return }
      if event.isWritable { flush(connection) }
      if event.isReadable {
        read(connection)
      } else if event.isHungUp {
        close(connection)
      }
    case .client: clients[event.source.id].map(processEnded)
    case .metricsListener: acceptMetricsReader()
    case .signal: readSignals()
    case .metricsReader:
      guard let reader = metricsReaders[event.source.id] else { return }
      serve(reader, isWritable: event.isWritable)
    }
  }

  func readMail() {
    while true {
      let messages = mailbox.take()
      if messages.isEmpty { return }
      for message in messages { handle(message) }
    }
  }

  private func handle(_ message: Message) {
    switch message {
    case .allocated(let ticket, let result):
      connections[ticket.connection]?.requests -= 1
      runningAllocations -= 1
      finish(ticket, result)
    case .reported(let id, let transaction, let report):
      guard let connection = connections[id] else { return }
      connection.requests -= 1
      tellStatus(connection, transaction, report)
    case .reclaimed(let key): forget(key)
    case .wentBack: break
    case .searched: searchForHolders()
    case .reload(let policy): take(policy)
    case .stop: beginStop()
    }
  }

  private func pass(_ deadline: Deadline) {
    switch deadline {
    case .stall(let id):
      guard let connection = connections[id] else { return }
      log.warning(
        "client dropped: it does not read replies",
        metadata: connection.metadata.merging(["unread": "\(connection.outgoing.count)"]) { $1 })
      metrics.dropped.increment()
      close(connection)
    case .heldUp(let id): connections[id].map { lookAgain(at: $0) }
    case .heldUpListeners: lookAgainAtListeners()
    case .deletion(let key): reportHolders(of: key)
    case .watchdog: keepWatchdogQuiet()
    case .metricsReader(let id): metricsReaders[id].map { close($0) }
    case .stop: isOver = true
    }
  }

  /// Twice as often as the manager asks, from the loop itself: so that a hanging loop is noticed.
  private func keepWatchdogQuiet() {
    guard let manager, let interval = manager.watchdogInterval else { return }
    manager.tellAlive()
    deadlines.set(.watchdog, after: max(interval.nanoseconds / 2_000_000, 1))
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
      log.error("reload failed", metadata: ["error": "\(error)"])
    }
  }

  private func take(_ policy: Policy) {
    manager?.tellReloading()
    self.policy = policy
    log.notice("configuration reloaded")
    manager?.tellReady()
  }

  // MARK: Asking again

  func recheck(_ client: Client) { reclaimer.recheck(client.unreportedBuffers) }

  func recheck(_ identity: VMOIdentity) { reclaimer.recheck([identity]) }

  var reclaimerCounters: Reclaimer.Counters { reclaimer.counters }

  // MARK: Stopping

  private func beginStop() {
    guard !isStopping else { return }
    isStopping = true
    manager?.tellStopping()
    log.notice("stopping", metadata: ["buffers": "\(ledger.total.buffers)"])
    poller.remove(sockets.heap.fd.rawValue)
    poller.remove(sockets.observer.fd.rawValue)
    if let number = sockets.metrics?.fd.rawValue { poller.remove(number) }
    for connection in connections.values { listen(to: connection) }
    deadlines.set(.stop, after: 2_000)
  }

  /// What is under way is answered, and no new vmo is on its way here, also to a client that is gone.
  /// Deletions that wait for another process are not: it may take for ever, and the buffers outlive this
  /// server.
  private var isQuiet: Bool {
    slowReclaims.areDone && runningAllocations == 0
      && connections.values.allSatisfy { $0.requests == 0 && $0.outgoing.isEmpty }
  }

  /// Reads a client's requests, or waits until it has read its answers.
  func listen(to connection: Connection) {
    let isIdle = connection.outgoing.isEmpty
    poller.change(
      connection.socket.fd.rawValue, EventSource(.connection, connection.id),
      reading: isIdle && !isStopping && connection.heldUpSince == nil, writing: !isIdle)
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
