import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

@testable import HeapServer

/// What a client may have: a refusal is NO_RESOURCES and a line of the log, and room comes back.
@Suite struct QuotaTests {
  @Test func `a connection has so many buffers, and room comes back with each`() throws {
    let daemon = try Daemon(configuration: "connection-buffers = 2\n")
    let client = try WireClient.heap(daemon)
    var first: SharedFD? = try client.allocate(0)
    let second = try client.allocate(1)
    #expect(try client.refusal(2) == .noResources)
    try daemon.expectLog(
      "allocation refused", "connection's quota", "buffer=lh:7.2", "size=\(pageSize.asByteCount)")
    try client.delete(0, &first)
    #expect(try client.refusal(2) == nil)
    #expect(try WireClient.heap(daemon).refusal(3) == nil)
    withExtendedLifetime(second) {}
  }

  @Test func `answers that wait count for their user, too`() throws {
    let daemon = try Daemon(configuration: "user-waits = 4\n")
    let client = try WireClient.heap(daemon)
    var vmo: SharedFD? = try client.allocate(0)
    let (one, other) = (try WireClient.observer(daemon), try WireClient.observer(daemon))
    for _ in 0..<2 { try one.sendAwait(vmo!) }
    // What was sent before has been read then.
    _ = try one.info(vmo!)
    let first = try other.sendAwait(vmo!)
    #expect(try other.awaitRefusal(vmo!) == .noResources)
    one.hangUp()
    // Of the heap's, this observer and the one that asks.
    let isGone = try eventually { try WireClient.observer(daemon).status().connections.count == 3 }
    #expect(isGone)
    let second = try other.sendAwait(vmo!)
    vmo = nil
    try other.receiveReclaimed(first)
    try other.receiveReclaimed(second)
  }

  @Test func `all that wait for one buffer are answered, each in its order`() throws {
    let daemon = try Daemon()
    let client = try WireClient.heap(daemon)
    var vmo: SharedFD? = try client.allocate(0)
    let waiting = try (0..<3).map { _ in
      let observer = try WireClient.observer(daemon)
      return (observer, try (0..<300).map { _ in try observer.sendAwait(vmo!) })
    }
    for (observer, _) in waiting { _ = try observer.info(vmo!) }
    vmo = nil
    for (observer, transactions) in waiting {
      for transaction in transactions { try observer.receiveReclaimed(transaction) }
    }
    #expect(daemon.stop() == 0)
  }

  /// How the users of the server before this one came is not known.
  @Test func `what was there at the start counts for the group`() throws {
    let accounts = Accounts(try Policy())
    let user = accounts.takeOver(pageSize, of: 4242)
    #expect(accounts.group.usage == Usage(buffers: 1, bytes: pageSize))
    accounts.refund(ServedBuffer(pageSize, of: user, nil))
    #expect(accounts.group.usage == Usage())
    _ = accounts.takeOver(pageSize, of: 0)
    #expect(accounts.group.usage == Usage() && accounts.all.usage.buffers == 1)
  }

  @Test func `bytes count in whole pages`() throws {
    let daemon = try Daemon(configuration: "connection-bytes = \(2 * pageSize)\n")
    let client = try WireClient.heap(daemon)
    let one = try client.allocate(0, size: 1)
    #expect(try client.refusal(1, size: pageSize + 1) == .noResources)
    #expect(try client.refusal(1, size: pageSize) == nil)
    withExtendedLifetime(one) {}
  }

  @Test func `a user's connections share one account, which outlives them`() throws {
    let daemon = try Daemon(configuration: "user-buffers = 2\n")
    var kept: SharedFD?
    do { kept = try WireClient.heap(daemon).allocate(0) }
    let client = try WireClient.heap(daemon)
    let second = try client.allocate(1)
    #expect(try client.refusal(2) == .noResources)
    try daemon.expectLog("allocation refused", "user's quota")
    try client.delete(0, &kept)
    #expect(try client.refusal(2) == nil)
    withExtendedLifetime(second) {}
  }

  @Test(.enabled(if: TestUser.isRoot, "needs root, to connect as others"))
  func `users have accounts of their own, within one total`() throws {
    let daemon = try Daemon(
      configuration: "user-buffers = 2\ntotal-buffers = 4\n", arguments: ["--mode", "0666"],
      openFolder: true)
    let one = try WireClient.heap(daemon, as: .first)
    let other = try WireClient.heap(daemon, as: .second)
    let buffers = [try one.allocate(0), try one.allocate(1)]
    #expect(try one.refusal(2) == .noResources)
    let third = try other.allocate(2)
    #expect(try other.refusal(3) == .noResources)
    try daemon.expectLog("allocation refused", "kept for those that have little")
    // Root's own is no matter of it.
    let fourth = try WireClient.heap(daemon).allocate(4)
    #expect(try WireClient.heap(daemon).refusal(5) == .noResources)
    try daemon.expectLog("allocation refused", "all users together")
    withExtendedLifetime((buffers, third, fourth)) {}
  }

  @Test(.enabled(if: TestUser.isRoot, "needs root, to connect as others"))
  func `bytes of a user, and of all`() throws {
    let daemon = try Daemon(
      configuration: "user-bytes = \(2 * pageSize)\ntotal-bytes = \(4 * pageSize)\n",
      arguments: ["--mode", "0666"], openFolder: true)
    let one = try WireClient.heap(daemon, as: .first)
    let other = try WireClient.heap(daemon, as: .second)
    let first = try one.allocate(0, size: 2 * pageSize)
    #expect(try one.refusal(1) == .noResources)
    #expect(try other.refusal(2, size: 2 * pageSize) == .noResources)
    #expect(try other.refusal(2) == nil)
    try daemon.expectLog("allocation refused", "user's quota", "user=\(TestUser.first.user)")
    try daemon.expectLog(
      "allocation refused", "kept for those that have little", "user=\(TestUser.second.user)")
    withExtendedLifetime(first) {}
  }

  /// As the subordinate uids of one person do, whose processes keep the group that lets them in.
  @Test(.enabled(if: TestUser.isRoot, "needs root, to connect as others"))
  func `many users have no more than their way in has, and newcomers find room`() throws {
    let daemon = try Daemon(
      configuration: """
        user-buffers = 100
        group-buffers = 200
        total-buffers = 320
        """, arguments: ["--mode", "0666", "--group", "\(TestUser.first.group)"],
      openFolder: true)
    let crowd = (0..<12).map { TestUser(user: 70_000 + $0, group: TestUser.first.group) }
    var (held, counts): ([SharedFD], [Int]) = ([], [])
    for (index, user) in crowd.enumerated() {
      let client = try WireClient.heap(daemon, as: user)
      let before = held.count
      while true {
        let key = UInt64(held.count)
        guard try client.refusal(key, of: UInt64(index)) == nil else { break }
        held.append(try client.allocate(key, of: UInt64(index)))
      }
      counts.append(held.count - before)
    }
    // Half of 320 for whoever comes, then a thirty-second of it each, until the group's quota is used up.
    #expect(counts == [100, 60, 10, 10, 10, 10, 0, 0, 0, 0, 0, 0])
    try daemon.expectLog("allocation refused", "come by the socket's group")
    // Others, and root, have what is not that group's.
    let other = TestUser(user: 80_000, group: 80_000)
    #expect(try WireClient.heap(daemon, as: other).refusal(1, of: 99) == nil)
    #expect(try WireClient.heap(daemon).refusal(1, of: 99) == nil)
    held = []
    let first = try WireClient.heap(daemon, as: crowd[0])
    #expect(try eventually { try first.refusal(1, of: 99) == nil })
  }

  @Test func `so many answers of a connection may wait`() throws {
    let daemon = try Daemon(configuration: "connection-waits = 1\n")
    let (heap, observer) = (try WireClient.heap(daemon), try WireClient.observer(daemon))
    let buffers = [try heap.allocate(0), try heap.allocate(1)]
    try observer.sendAwait(buffers[0])
    #expect(try observer.awaitRefusal(buffers[1]) == .noResources)
    try daemon.expectLog("watch refused", "buffer=lh:7.1")
    // It costs that request, and the connection goes on.
    #expect(try observer.awaitRefusal(OddFile.memfd()) == .notFound)
    let tracker = try OddFile.pipe().write
    try observer.attach(tracker, to: 7, remaining: 0)
    #expect(throws: Refusal(code: .noResources)) {
      try observer.attach(tracker, to: 7, remaining: 0)
    }
    // A deletion has no other answer than the connection's end.
    try heap.sendDelete(0, buffers[0])
    try heap.sendDelete(1, buffers[1])
    #expect(try heap.epitaph() == .noResources)
    withExtendedLifetime(buffers) {}
  }

  /// To whoever keeps it, a report is memory of the service as any buffer.
  @Test func `a report that is kept is on its reader's account`() throws {
    let daemon = try Daemon(configuration: "connection-bytes = \(2 * pageSize)\n")
    let observer = try WireClient.observer(daemon)
    func report() throws -> SharedFD? {
      let reply = try observer.ask { GetStatusRequest().encode(transactionID: $0, into: &$1) }
      return reply.handles.first
    }
    var kept: [SharedFD] = []
    for _ in 0..<2 { kept.append(try #require(try report())) }
    #expect(try report() == nil)
    try daemon.expectLog("status refused", "connection's quota")
    // It is a buffer of nobody's heap.
    #expect(try observer.info(kept[0]) == nil)
    kept.removeLast()
    #expect(try eventually { try report() != nil })
  }

  /// Who is refused looks into it.
  @Test(.enabled(if: TestUser.isRoot, "needs root, to connect as another"))
  func `a user's first report is beyond its own quotas, and the owner's beyond all`() throws {
    for (quota, isServed) in [
      ("connection-buffers", true), ("user-bytes", true), ("total-buffers", false),
    ] {
      let amount = quota.hasSuffix("bytes") ? pageSize : 1
      let daemon = try Daemon(
        configuration: "\(quota) = \(amount)\n", arguments: ["--mode", "0666"], openFolder: true)
      let buffer = try WireClient.heap(daemon, as: .first).allocate(0)
      let client = try WireClient.heap(daemon, as: .first)
      if quota != "connection-buffers" { #expect(try client.refusal(1) == .noResources) }
      let observer = try WireClient.observer(daemon, as: .first)
      func report() throws -> SharedFD? {
        let reply = try observer.ask { GetStatusRequest().encode(transactionID: $0, into: &$1) }
        return reply.handles.first
      }
      let kept = try report()
      #expect((kept != nil) == isServed, "\(quota)")
      #expect(try report() == nil, "\(quota)")
      #expect(try WireClient.observer(daemon).status().othersQuota.buffers == (isServed ? 2 : 1))
      withExtendedLifetime((buffer, kept)) {}
    }
  }

  @Test func `what can never be served is no matter of quotas`() throws {
    let daemon = try Daemon(configuration: "total-bytes = 1M\n")
    #expect(try WireClient.heap(daemon).refusal(3, size: 2 << 20) == .noMemory)
    try daemon.expectLog("allocation refused", "more than the service has in all", "buffer=lh:7.3")
  }

  @Test func `vmos without pages count by number alone`() throws {
    let daemon = try Daemon(
      heap: ["opaque"], configuration: "connection-bytes = 4K\nconnection-buffers = 1\n")
    let client = try WireClient.heap(daemon)
    let vmo = try client.allocate(0, size: 1 << 40)
    #expect(try client.refusal(1) == .noResources)
    withExtendedLifetime(vmo) {}
  }
}
