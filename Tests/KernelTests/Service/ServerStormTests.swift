import Glibc
import HeapClient
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// Servers that end at any moment, with a manager that starts the next and keeps their buffers.
@Suite(.serialized) struct ServerStormTests {
  private static let collection: UInt64 = 0xbee0_0000_0000_0002

  @Test(arguments: HeapUnderTest.inStorms)
  func `clients go on through servers killed at random moments`(
    _ subject: HeapUnderTest
  ) async throws {
    var seed = StormSeed()
    // No more buffers than the unit's store has room for: those of servers that ended soon wait for one that looks at them.
    let manager = try StandInManager(
      heap: subject.name, configuration: "user-connections = 1000\nuser-buffers = 2000")
    let nursery = try ClientNursery.shared.get()
    try nursery.setUp(subject, socket: manager.socket, reconnects: true)
    let start = ContinuousClock.now
    try manager.start()
    let startTime = (ContinuousClock.now - start).microseconds
    try nursery.start(1, seed: seed.next())
    #expect(try eventually { try nursery.look().deleted > 5 }, "clients get started, \(seed)")
    try nursery.stop()
    var heap = try manager.connect()
    // Some descriptors are opened at first use, and kept.
    let first = try Held(heap, subject, Self.collection)
    manager.kill()
    try manager.start()
    heap = try manager.connect()
    try first.check(heap, "\(seed)")
    try await first.delete(heap)
    let files = try filesAtRest(manager, heap)
    let own = try OwnResources.atRest(threads: 2)

    let held = try Held(heap, subject, Self.collection)
    try nursery.setUp(subject, socket: manager.socket, reconnects: true)
    try nursery.start(4, seed: seed.next())
    let servers = StormSize.servers
    // So many servers, and more until each thing that clients do has met a server's end: how much they do in one server's
    // life is the machine's.
    var round: UInt64 = 0
    while try round < servers || round < servers * 10 && !nursery.look().isStorm(of: servers) {
      round += 1
      // While it serves; or, counted from its start, while it takes over what was left to it.
      let isServing = Bool.random(using: &seed)
      if isServing {
        try manager.waitUntilReady()
        // Some clients' work later, however slow the machine is.
        let deleted = try nursery.look().deleted + .random(in: 0...8, using: &seed)
        #expect(try eventually { try nursery.look().deleted >= deleted }, "clients go on, \(seed)")
        usleep(.random(in: 0...startTime / 4, using: &seed))
      } else {
        usleep(.random(in: 0...startTime * 3 / 2, using: &seed))
      }
      manager.kill()
      try manager.start(awaitsReady: false)
      if round % 5 == 0 { try held.check(manager.connect(), "round \(round) \(seed)") }
    }
    heap = try manager.connect()
    try held.check(heap, "\(seed)")
    let report = try nursery.stop()
    #expect(report.faults == 0, "\(report) \(seed)")
    #expect(report.isStorm(of: servers), "\(report) \(seed)")
    #expect(try eventually { try ServerStatus(of: heap).quota.buffers == Held.count }, "\(seed)")
    try await held.delete(heap)

    #expect(try eventually { try ServerStatus(of: heap).quota.buffers == 0 }, "\(seed)")
    // The report before this one may still be on its reader's account.
    #expect(
      try eventually { try ServerStatus(of: heap).users.allSatisfy { $0.quota.buffers == 0 } },
      "\(seed)")
    #expect(eventually { manager.store.entries.isEmpty }, "\(manager.store.entries.count) \(seed)")
    #expect(eventually { KernelBuffers.ofClients()?.isEmpty != false }, "\(seed)")
    #expect(
      eventually { KernelBuffers.of(collection: Self.collection)?.isEmpty != false }, "\(seed)")
    let left = try filesAtRest(manager, heap)
    #expect(left == files, "\(seed)")
    #expect(
      eventually { (try? OwnResources()) == own },
      "\((try? OwnResources())?.description ?? ""), not \(own) \(seed)")
    #expect(!manager.logText.contains(" error "), "\(manager.logText) \(seed)")
  }

  /// Open files of a server to which nobody but `heap` is connected.
  private func filesAtRest(
    _ manager: StandInManager, _ heap: RemoteHeap
  ) throws -> [String] {
    #expect(try eventually { try ServerStatus(of: heap).connections.count == 2 })
    return try ProcessFiles.listAtRest(of: try #require(manager.process))
  }

  /// Buffers that this process holds through it all.
  private struct Held {
    static let count = 4
    private let vmos: [HeldVMO]
    private let collection: UInt64

    init(_ heap: RemoteHeap, _ subject: HeapUnderTest, _ collection: UInt64) throws {
      self.collection = collection
      vmos = try (0..<Self.count).map { index in
        let vmo = try heap.allocateVmo(
          size: UInt64(index + 1) * pageSize, settings: subject.settings,
          bufferCollectionID: collection, bufferIndex: UInt64(index))
        try vmo.poke(UInt8(0x40 + index), at: index * Int(pageSize))
        return HeldVMO(vmo)
      }
    }

    func check(_ heap: RemoteHeap, _ comment: Comment) throws {
      for (index, vmo) in vmos.enumerated() {
        #expect(try vmo.peek(at: index * Int(pageSize)) == UInt8(0x40 + index), comment)
        #expect(
          try vmo.info(from: heap)
            == BufferKey(bufferCollectionID: collection, bufferIndex: UInt64(index)), comment)
      }
    }

    func delete(_ heap: RemoteHeap) async throws {
      for (index, vmo) in vmos.enumerated() {
        guard let vmo = vmo.take() else { continue }
        try await heap.deleteVmo(
          bufferCollectionID: collection, bufferIndex: UInt64(index), vmo: vmo)
      }
    }
  }
}

extension ClientNursery.Report {
  fileprivate func isStorm(of servers: UInt64) -> Bool {
    reconnected > servers * 3 / 5 && allocated > servers * 2 && known > servers * 2
      && taken > servers * 2 / 5 && deleted > servers * 2 / 5
  }
}

extension Duration {
  fileprivate var microseconds: UInt32 {
    let (seconds, attoseconds) = components
    return UInt32(clamping: seconds * 1_000_000 + attoseconds / 1_000_000_000_000)
  }
}
