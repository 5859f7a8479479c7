import HeapClient
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// Clients that end at any moment.
@Suite(.serialized) struct ClientStormTests {
  @Test(arguments: HeapUnderTest.inStorms)
  func `clients killed at random moments leave nothing behind`(_ heap: HeapUnderTest) throws {
    var seed = StormSeed()
    let daemon = try Daemon(heap: [heap.name], configuration: "user-connections = 1000")
    let nursery = try ClientNursery.shared.get()
    try nursery.setUp(heap, socket: daemon.socket, reconnects: false)
    try nursery.start(2, seed: seed.next())
    #expect(try eventually { try nursery.look().deleted > 10 }, "clients get started, \(seed)")
    try nursery.stop()
    let left = try LeftBehind(RemoteHeap(socket: daemon.socket), daemon.identifier)

    try nursery.setUp(heap, socket: daemon.socket, reconnects: false)
    try nursery.start(3, seed: seed.next())
    let clients = StormSize.clients
    // So many clients, and as many again until the others have done each thing among them: how much they do meanwhile is the
    // machine's.
    var killed: UInt64 = 0
    while try killed < clients || killed < clients * 10 && !nursery.look().isStorm(of: clients) {
      try nursery.killMany(Int(clients), seed: seed.next())
      killed += clients
    }
    let report = try nursery.stop()

    // No client that was left alone saw anything of it, and it was a storm.
    #expect(report.faults == 0, "\(report) \(seed)")
    #expect(report.killed == killed, "\(report) \(seed)")
    #expect(report.isStorm(of: clients), "\(report) \(seed)")
    try left.expectNothing("\(report) \(seed)")
    #expect(daemon.stop() == 0)
    #expect(!daemon.log.contains(" error "), "\(daemon.log) \(seed)")
  }
}

extension ClientNursery.Report {
  fileprivate func isStorm(of clients: UInt64) -> Bool {
    allocated > clients && deleted > clients / 5 && shared > clients / 5 && taken > clients / 5
      && known > clients / 10
  }
}
