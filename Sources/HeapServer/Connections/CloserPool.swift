internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import Synchronization
internal import SystemPackage

/// Closers, and what each user has them close. A thread of its own has it, and waits for no client.
///
/// What is to be closed goes to a closer at once, and is closed here, which is not the last close then. So it takes no descriptor of this
/// process's, however long it waits there. A user has one closer that closes; what comes meanwhile another one collects.
///
/// One that has not closed all in time is killed, which ends most waits. Those that it does not end keep the process until they end
/// by themselves: two of a user, and a share of them in all. What else such a user has remains where it is, unclosed.
final class CloserPool {
  enum Kind: CaseIterable { case file, socket, drainedSocket }

  /// What the thread is told.
  final class Inbox: Sendable {
    struct Mail {
      /// Made before the thread was there.
      var closers: [CloserSource.Ends] = []
      var disposals: [(numbers: ArraySlice<CInt>, kind: Kind, user: uid_t)] = []
      /// Closers of which a batch is not open here any more.
      var released: [UInt64] = []
      var isFinishing = false
      var isOver = false
    }

    private let mail = Guarded(Mail())
    private let wakeUp: WakeUp
    private let finished: WakeUp
    /// Sockets that the thread has not taken yet.
    private let socketCount = Atomic(0)

    init() throws(Errno) {
      wakeUp = try WakeUp()
      finished = try WakeUp()
    }

    var descriptor: CInt { wakeUp.descriptor }

    var sockets: Int { socketCount.load(ordering: .relaxed) }

    func post(_ change: (inout Mail) -> Void) {
      mail.withLock { mail in
        let before = mail.disposals.count
        change(&mail)
        let sockets = mail.disposals[before...].count { $0.kind != .file }
        if sockets > 0 { socketCount.add(sockets, ordering: .relaxed) }
      }
      wakeUp.signal()
    }

    fileprivate func removeSockets(_ count: Int) { socketCount.subtract(count, ordering: .relaxed) }

    fileprivate func take() -> Mail {
      wakeUp.clear()
      return mail.withLock { mail in
        defer {
          mail.closers = []
          mail.disposals = []
          mail.released = []
        }
        return mail
      }
    }

    /// Returns when nothing is left that no closer has, or after a second.
    func finish() {
      post { $0.isFinishing = true }
      _ = CLinuxHeaps_await_message(finished.descriptor, 1_000_000_000)
    }

    fileprivate func tellFinished() { finished.signal() }
  }

  private final class Closer {
    let id: UInt64
    let socket: SharedFD
    let process: SharedFD
    /// Descriptors that it has.
    var count = 0
    /// Batches of them that are still open here.
    var openHere = 0
    /// When its time to close them is over; nil where it has not been told to, or was killed.
    var deadline: MonotonicTime?
    /// What the last wait found.
    var hasAnswered = false
    var hasEnded = false

    init(_ id: UInt64, _ ends: CloserSource.Ends) {
      self.id = id
      socket = ends.socket
      process = ends.process
    }

    var isClosing: Bool { deadline != nil }

    func kill() { CLinuxHeaps_kill_closer(process.fd.rawValue) }
  }

  private struct User {
    /// What no closer has yet.
    var held: [Kind: [CInt]] = [:]
    /// Those that have not been told to close; the last takes more.
    var waiting: [Closer] = []
    var closing: Closer?
    /// Those that were killed.
    var stuck: [Closer] = []

    var closers: [Closer] { waiting + (closing.map { [$0] } ?? []) + stuck }
    var heldCount: Int { held.values.reduce(0) { $0 + $1.count } }
    var isHolding: Bool { held.values.contains { !$0.isEmpty } }
    /// Whether it could be this process that closes last.
    var isOpenHere: Bool { isHolding || closers.contains { $0.openHere > 0 } }
    var isGone: Bool { waiting.isEmpty && closing == nil && stuck.isEmpty && !isHolding }
  }

  private static let mostOfUser = 8
  private static let mostStuckOfUser = 2
  private static let most = 64
  private static let mostStuck = 32
  /// So many times as many closers has a user that leaves much here.
  private static let overflow = 4
  /// Descriptors of one closer, which may have as many as this process.
  private static let room = 4096
  /// Milliseconds.
  private static let patience: UInt64 = 1_000
  private static let retry: UInt64 = 50

  private let inbox: Inbox
  private let source: CloserSource
  private let files: Workers
  private let descriptors: DescriptorBudget
  private let open: UserCounts
  private var users: [uid_t: User] = [:]
  /// One is always ready, where nobody has any.
  private var idle: [Closer] = []
  private var lastID: UInt64 = 0
  private var isFinishing = false

  init(
    _ inbox: Inbox, _ source: CloserSource, _ files: Workers, _ descriptors: DescriptorBudget,
    _ open: UserCounts
  ) {
    self.inbox = inbox
    self.source = source
    self.files = files
    self.descriptors = descriptors
    self.open = open
  }

  func run() {
    while true {
      wait()
      let mail = inbox.take()
      isFinishing = mail.isFinishing
      for ends in mail.closers { add(ends) }
      for (numbers, kind, user) in mail.disposals {
        users[user, default: User()].held[kind, default: []] += numbers
        if kind != .file { inbox.removeSockets(numbers.count) }
      }
      for id in mail.released { release(id) }
      for user in Array(users.keys) { hear(user) }
      // What one has closed may be room for another.
      for user in Array(users.keys) {
        serve(user)
        if users[user]!.isGone { users[user] = nil }
      }
      keepOneReady()
      let hasAny = users.values.contains { $0.isOpenHere }
      if isFinishing && !hasAny { inbox.tellFinished() }
      if mail.isOver && !hasAny { break }
    }
  }

  private func wait() {
    var entries = [pollfd(fd: inbox.descriptor, events: Int16(POLLIN), revents: 0)]
    var closers = idle
    var deadline: MonotonicTime?
    for user in users.values {
      closers += user.closers
      deadline = .earlier(deadline, user.closing?.deadline)
      if user.isHolding { deadline = .earlier(deadline, Self.after(Self.retry)) }
    }
    // None could be made.
    if closers.isEmpty { deadline = .earlier(deadline, Self.after(Self.retry)) }
    for closer in closers {
      entries.append(pollfd(fd: closer.process.fd.rawValue, events: Int16(POLLIN), revents: 0))
      // Of one that ends it is readable for as long as its other files take. poll(2) passes over -1.
      let socket = closer.isClosing ? closer.socket.fd.rawValue : -1
      entries.append(pollfd(fd: socket, events: Int16(POLLIN), revents: 0))
    }
    _ = unsafe poll(&entries, nfds_t(entries.count), deadline?.millisecondsFromNow ?? -1)
    for (index, closer) in closers.enumerated() {
      closer.hasEnded = entries[1 + 2 * index].revents != 0
      closer.hasAnswered = entries[2 + 2 * index].revents != 0
    }
    if idle.contains(where: \.hasEnded) { forgetEnded(&idle, of: nil) }
  }

  private static func after(_ milliseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: MonotonicTime.now.nanoseconds + milliseconds * 1_000_000)
  }

  private func release(_ id: UInt64) {
    for user in users.values {
      if let closer = user.closers.first(where: { $0.id == id }) { return closer.openHere -= 1 }
    }
  }

  // MARK: What closers have done

  private func hear(_ id: uid_t) {
    if let closer = users[id]!.closing {
      if closer.hasAnswered, CLinuxHeaps_hear_closer(closer.socket.fd.rawValue) == 1 {
        users[id]!.closing = nil
        closer.deadline = nil
        closed(closer, of: id)
        idle.append(closer)
      } else if closer.hasEnded || closer.hasAnswered || closer.deadline! <= .now {
        abandon(closer, of: id)
      }
    }
    forgetEnded(&users[id]!.stuck, of: id)
    forgetEnded(&users[id]!.waiting, of: id)
  }

  private func abandon(_ closer: Closer, of id: uid_t) {
    closer.kill()
    closer.deadline = nil
    users[id]!.closing = nil
    users[id]!.stuck.append(closer)
  }

  /// One that has not been told to close, and collects no more.
  private func kill(_ closer: Closer, of id: uid_t) {
    closer.kill()
    users[id]!.waiting.removeAll { $0 === closer }
    users[id]!.stuck.append(closer)
  }

  private func closed(_ closer: Closer, of id: uid_t) {
    open.remove(id, closer.count)
    closer.count = 0
  }

  private func forgetEnded(_ closers: inout [Closer], of user: uid_t?) {
    let ended = closers.filter(\.hasEnded)
    if ended.isEmpty { return }
    closers.removeAll(where: \.hasEnded)
    for closer in ended {
      if let user { closed(closer, of: user) }
      descriptors.remove(2)
    }
  }

  // MARK: What they are to do

  private func serve(_ id: uid_t) {
    for kind in Kind.allCases {
      while let numbers = users[id]!.held[kind], !numbers.isEmpty {
        let batch = Array(numbers.prefix(Int(CLinuxHeaps_MAX_DESCRIPTORS)))
        guard let closer = collector(of: id), hand(batch, kind, to: closer, of: id) else { break }
        users[id]!.held[kind]!.removeFirst(batch.count)
      }
    }
    // As many as it may have are full: what they collect need not wait for its turn, and those end that have nothing that waits.
    if users[id]!.isHolding, users[id]!.closers.count >= Self.mostOfUser, collector(of: id) == nil {
      for closer in users[id]!.waiting where closer.openHere == 0 { kill(closer, of: id) }
    }
    guard users[id]!.closing == nil, mayWait(id),
      let index = users[id]!.waiting.firstIndex(where: { $0.openHere == 0 })
    else { return }
    let closer = users[id]!.waiting.remove(at: index)
    closer.deadline = Self.after(Self.patience)
    users[id]!.closing = closer
    if CLinuxHeaps_order_close(closer.socket.fd.rawValue) != 0 { abandon(closer, of: id) }
  }

  /// Half is for users that have none.
  private static func allows(_ own: Int, _ all: Int, _ most: Int) -> Bool {
    all < (own == 0 ? most : most / 2)
  }

  /// Whether another closer of the user's may turn out to wait for ever.
  private func mayWait(_ id: uid_t) -> Bool {
    let own = users[id]!.stuck.count
    return own < Self.mostStuckOfUser
      && Self.allows(
        own, users.values.reduce(0) { $0 + min($1.stuck.count, Self.mostStuckOfUser) },
        Self.mostStuck)
  }

  private func collector(of id: uid_t) -> Closer? {
    let user = users[id]!
    let room = min(Self.room, descriptors.limit / 2) - Int(CLinuxHeaps_MAX_DESCRIPTORS)
    if let last = user.waiting.last, last.count <= room { return last }
    let (own, all) = (user.closers.count, users.values.reduce(0) { $0 + $1.closers.count })
    // Where none of a user's ends, more of them cost it thousands of connections each, and what stays here costs others.
    let times = user.heldCount > room / 4 ? Self.overflow : 1
    guard
      isFinishing || own < times * Self.mostOfUser && Self.allows(own, all, times * Self.most)
    else { return nil }
    if idle.isEmpty { make() }
    guard let closer = idle.popLast() else { return nil }
    users[id]!.waiting.append(closer)
    return closer
  }

  /// False where it has not been sent.
  private func hand(_ batch: [CInt], _ kind: Kind, to closer: Closer, of user: uid_t) -> Bool {
    var order = UInt8(
      kind == .drainedSocket ? CLinuxHeaps_CLOSE_DRAINED : CLinuxHeaps_CLOSE)
    let socket = closer.socket.fd.rawValue
    do throws(Errno) {
      _ = try call { unsafe CLinuxHeaps_send(socket, &order, 1, batch, batch.count) }
    } catch {
      if !error.isOfSendingNow { kill(closer, of: user) }
      return false
    }
    closer.count += batch.count
    if kind == .file {
      // close(2) flushes a file before it lets go of it, and a file system in user space can keep it there for ever, whatever signal
      // comes (fuse_flush, fs/fuse/file.c).
      closer.openHere += 1
      files.run(in: Workers.Lane(0, of: .user(user))) { [descriptors, inbox, id = closer.id] in
        Self.close(batch, descriptors)
        inbox.post { $0.released.append(id) }
      }
    } else {
      Self.close(batch, descriptors)
    }
    return true
  }

  private static func close(_ batch: [CInt], _ descriptors: DescriptorBudget) {
    for number in batch { _ = CLibrary.close(number) }
    descriptors.remove(batch.count)
  }

  // MARK: Making closers

  private func keepOneReady() {
    if idle.isEmpty && users.isEmpty { make() }
    while idle.count > 1 {
      idle.removeLast()
      descriptors.remove(2)
    }
  }

  private func make() {
    // Where none can be had it is tried again.
    if let ends = try? source.make() { add(ends) }
  }

  private func add(_ ends: CloserSource.Ends) {
    lastID += 1
    descriptors.add(2)
    idle.append(Closer(lastID, ends))
  }
}

extension Errno {
  /// The closer has not received what it was sent before, too much is on its way to whomever, or the machine is short of memory: later.
  var isOfSendingNow: Bool {
    switch self {
    case .resourceTemporarilyUnavailable, .tooManyReferences, .noMemory, .noBufferSpace: true
    default: false
    }
  }
}

/// The process that makes closers (`CLinuxHeaps_start_closers`).
final class CloserSource: Sendable {
  typealias Ends = (socket: SharedFD, process: SharedFD)

  /// To the process, which ends with it.
  private let socket: Guarded<SharedFD>

  init() throws(Errno) { socket = Guarded(try Self.start()) }

  private static func start() throws(Errno) -> SharedFD {
    SharedFD(OwnedFD(adopting: try call { CLinuxHeaps_start_closers() }))
  }

  func make() throws(Errno) -> Ends {
    // One at a time: answers are told apart by nothing.
    try socket.withLock { (socket) throws(Errno) in
      do throws(Errno) { return try Self.ask(socket) } catch .brokenPipe, .connectionReset {
        socket = try Self.start()
        return try Self.ask(socket)
      } catch .timedOut {
        // Its answer would be taken for the next one's.
        socket = try Self.start()
        throw .timedOut
      }
    }
  }

  private static func ask(_ socket: SharedFD) throws(Errno) -> Ends {
    let number = socket.fd.rawValue
    var process: CInt = -1
    let closer = try call { unsafe CLinuxHeaps_new_closer(number, &process) }
    return (SharedFD(OwnedFD(adopting: closer)), SharedFD(OwnedFD(adopting: process)))
  }
}
