internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// What all parts of the server use; it knows none of them. All but the last five are for the loop's thread alone.
struct Shared {
  let poller: Poller
  let deadlines = Deadlines()
  let accounts: Accounts
  let metrics = ServerMetrics()
  let descriptors: DescriptorBudget
  let disposer: Disposer
  let workers: Workers
  let mailbox: Mailbox
  let log: Logger
  /// For all that a client can cause.
  let clientLog: ClientLog

  init(_ policy: Policy, _ mailbox: Mailbox, _ log: Logger) throws(Errno) {
    poller = try Poller()
    accounts = Accounts(policy)
    descriptors = try DescriptorBudget()
    disposer = try Disposer(descriptors)
    workers = try Workers()
    self.mailbox = mailbox
    self.log = log
    clientLog = ClientLog(log)
  }
}
