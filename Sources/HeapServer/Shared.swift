internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// What all parts of the server use; it knows none of them. Poller, deadlines, accounts and the clients' log are for the loop's thread alone.
struct Shared {
  let poller: Poller
  let deadlines = Deadlines()
  let accounts: Accounts
  let metrics = ServerMetrics()
  let descriptors: DescriptorBudget
  let disposer: Disposer
  let workers: Workers
  /// For memory that clients bring: another process of a client's can hold its file's lock, and no signal ends the wait for that
  /// (`shmem_file_llseek`, mm/shmem.c).
  let memoryWorkers: Workers
  let lastCloses: LastCloses
  /// For what is looked for in other processes.
  let searchers: Workers
  let mailbox: Mailbox
  let log: Logger
  /// For all that a client can cause.
  let clientLog: ClientLog

  init(_ policy: Policy, _ mailbox: Mailbox, _ log: Logger) throws(Errno) {
    poller = try Poller()
    accounts = Accounts(policy)
    descriptors = try DescriptorBudget()
    let closers = try CloserSource()
    disposer = try Disposer(descriptors, closers)
    lastCloses = try LastCloses(closers, descriptors)
    workers = try Workers()
    memoryWorkers = try Workers(most: 16)
    searchers = try Workers(most: 1)
    // Where no thread can be had the loop would do what they are asked for.
    for workers in [workers, memoryWorkers, searchers] { try workers.startThread() }
    self.mailbox = mailbox
    self.log = log
    clientLog = ClientLog(log, deadlines)
  }

  /// Whether there are descriptors for another of a peer's requests: the second half of all is for those who have few, and who does not
  /// let its files be closed has none.
  ///
  /// - Parameter pending: What it has besides connections, buffers and what is to be closed.
  func hasDescriptors(for peer: Peer, besides pending: Int = 0) -> Bool {
    if descriptors.isUsedUp || disposer.hasTooMuch(of: peer.user) { return false }
    guard descriptors.isHalfUsed, peer.fileClass != .owner else { return true }
    let user = accounts.users[peer.user]
    // A connection is a socket and a process, a buffer a parent and what tells of its end.
    let open = 2 * ((user?.connections ?? 0) + (user?.usage.buffers ?? 0))
    return open + pending + disposer.count(of: peer.user) < Limits.little(of: descriptors.limit)
  }
}
