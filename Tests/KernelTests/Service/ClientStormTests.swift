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
    try nursery.killMany(Int(clients), seed: seed.next())
    let report = try nursery.stop()

    // No client that was left alone saw anything of it, and it was a storm, if on an emulated machine.
    #expect(report.faults == 0, "\(report) \(seed)")
    #expect(report.killed == clients, "\(report) \(seed)")
    #expect(report.allocated > clients && report.deleted > clients / 5, "\(report) \(seed)")
    #expect(
      report.shared > clients / 5 && report.taken > clients / 5 && report.known > clients / 10,
      "\(report) \(seed)")
    try left.expectNothing("\(report) \(seed)")
    #expect(daemon.stop() == 0)
    #expect(!daemon.log.contains(" error "), "\(daemon.log) \(seed)")
  }
}
