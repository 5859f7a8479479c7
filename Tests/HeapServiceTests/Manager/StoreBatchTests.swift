import Glibc
import HeapProtocol
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

@testable import HeapServer

/// The manager is told of many buffers at once, and waited for once.
@Suite struct StoreBatchTests {
  private static let indices = 0..<100 as Range<UInt64>

  /// What the store calls a buffer of this user's.
  private static func name(_ index: UInt64) -> String {
    let key = BufferKey(bufferCollectionID: 7, bufferIndex: index)
    return StoredBufferName(key: key, user: geteuid(), heap: "memfd").description
  }

  private static func client(
    _ manager: StandInManager, as user: TestUser? = nil
  ) throws -> WireClient {
    let client = try WireClient(to: manager.socket, as: user)
    _ = try #require(try client.receive()?.decode(OnRegisterEvent.self))
    return client
  }

  private static func ask(_ client: WireClient, for index: UInt64) throws -> UInt32 {
    let message = AllocateVmoRequest(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 7, bufferIndex: index)
    return try client.request { message.encode(transactionID: $0, into: &$1) }
  }

  @Test func `100 buffers at once cost few barriers, and come in their order`() throws {
    let manager = try StandInManager(heap: "memfd", .init(slowness: 200))
    try manager.start()
    let client = try Self.client(manager)
    let names = Self.indices.map(Self.name)

    let requests = try Self.indices.map { try Self.ask(client, for: $0) }
    var buffers: [SharedFD?] = []
    for (request, name) in zip(requests, names) {
      let answer = try #require(try client.receive())
      #expect(answer.header?.transactionID == request)
      buffers.append(answer.handles.first)
      #expect(manager.store.entries.contains { $0.name == name }, "answered before it was kept")
    }
    #expect(manager.store.changes == names.map { "+" + $0 })
    #expect(manager.store.barriers < 20)

    var deletions: Set<UInt32> = []
    for index in Self.indices {
      try client.sendDelete(index, try #require(buffers[Int(index)]))
      buffers[Int(index)] = nil
      deletions.insert(client.lastTransaction)
    }
    // The service may look before this process has closed its handle, and then ends that buffer later.
    while !deletions.isEmpty {
      let answer = try #require(try client.receive())
      #expect(answer.header?.ordinal == .deleteVmo)
      #expect(deletions.remove(try #require(answer.header).transactionID) != nil)
    }
    #expect(manager.store.entries.isEmpty)
    #expect(Set(manager.store.changes.suffix(100)) == Set(names.map { "-" + $0 }))
    #expect(manager.store.barriers < 40)
  }

  @Test(.enabled(if: TestUser.isRoot, "needs root, to be two users"))
  func `a user leaves half of the store to others`() throws {
    let manager = try StandInManager(heap: "memfd")
    unsafe chmod(manager.folder, 0o755)
    unsafe chmod(manager.socket, 0o666)
    try manager.start(.init(environment: ["FDSTORE": "8"]))
    let first = try Self.client(manager, as: .first)
    var own: [SharedFD?] = try (0..<6).map { try first.allocate($0) }
    #expect(manager.store.entries.count == 4)
    let second = try Self.client(manager, as: .second)
    let others = try (10..<12).map { try second.allocate($0) }
    #expect(manager.store.entries.count == 5)
    // One that is kept, and one that is not.
    for index in [0, 5] { try first.delete(UInt64(index), &own[index]) }
    #expect(manager.store.entries.count == 4)
    // Answered when the manager has let go of them.
    for index in 1..<5 { try first.delete(UInt64(index), &own[index]) }
    #expect(manager.store.entries.count == 1)
    own = try (20..<23).map { try first.allocate($0) }
    #expect(manager.store.entries.count == 4)
    withExtendedLifetime((own, others)) {}
  }

  @Test func `a manager that does not answer is waited for once`() throws {
    let manager = try StandInManager(heap: "memfd", .init(slowness: nil))
    try manager.start()
    let client = try Self.client(manager)
    let requests = try Self.indices.map { try Self.ask(client, for: $0) }
    // For five seconds.
    for request in requests {
      #expect(try client.receive()?.header?.transactionID == request)
    }
    let start = ContinuousClock.now
    for index in 200..<210 as Range<UInt64> {
      var buffer: SharedFD? = try client.allocate(index)
      try client.delete(index, &buffer)
    }
    #expect(ContinuousClock.now - start < .seconds(5))
    #expect(
      eventually {
        manager.logText.split(separator: "\n").count { $0.contains("does not answer") } == 1
      })
    manager.store.wakeUp()
    _ = try client.allocate(300)
    #expect(eventually { manager.logText.contains("answers again") })
  }
}
