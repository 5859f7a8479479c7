import Glibc
import HeapProtocol
import HeapServer
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

/// Allocations that take the kernel long.
@Suite struct SlowAllocationTests {
  @Test func `so many requests of a connection may be under way`() throws {
    let server = try GatedServer { $0.requests = 2 }
    let client = try server.client()
    let requests = try [client.ask(for: 0), client.ask(for: 1)]
    #expect(try client.refusal(2) == .noResources)
    #expect(try server.client().refusal(2) == nil)
    server.gate.open()
    var answered: Set<UInt32> = []
    for _ in requests { answered.insert(try #require(try client.receive()?.header).transactionID) }
    #expect(answered == Set(requests))
    #expect(try client.refusal(2) == nil)
  }

  @Test func `who waits for an allocation keeps no other client waiting`() throws {
    let server = try GatedServer()
    let slow = try server.client()
    for index in 0..<10 as Range<UInt64> { _ = try slow.ask(for: index) }
    let client = try server.client()
    for index in 0..<10 { #expect(try client.refusal(UInt64(index), of: 8) == nil) }
    #expect(!slow.hasNews(within: 0))
    // Its key is taken from the request on.
    #expect(try client.refusal(0) == .alreadyExists)
  }

  @Test(.enabled(if: TestUser.isRoot, "needs root, to be two users"))
  func `all connections of a user have half of the threads, so that another has some`() throws {
    let server = try GatedServer { $0.userConnections = 8 }
    let slow = try (0..<6).map { _ in try server.client(as: .first) }
    for (index, client) in slow.enumerated() { _ = try client.ask(for: UInt64(index)) }
    let client = try server.client(as: .second)
    for index in 0..<10 { #expect(try client.refusal(UInt64(index), of: 8) == nil) }
    withExtendedLifetime(slow) {}
  }

  @Test func `a vmo whose client is gone is dropped, and its buffer with it`() throws {
    let server = try GatedServer()
    let observer = try WireClient(to: server.socket + ".observer")
    do {
      let client = try server.client()
      _ = try client.ask(for: 0)
      let isThere = try eventually { try observer.status().buffers.count == 1 }
      #expect(isThere)
    }
    server.gate.open()
    let isGone = try eventually { try observer.status().buffers.isEmpty }
    #expect(isGone)
  }

  /// Until the allocation is done, or for as long as a stop may take.
  @Test(arguments: [true, false])
  func `a stop keeps no vmo whose client is gone`(isDoneInTime: Bool) throws {
    let server = try GatedServer()
    let index: UInt64 = isDoneInTime ? 0x5701 : 0x5702
    let key = BufferKey(bufferCollectionID: 7, bufferIndex: index)
    do {
      let observer = try WireClient(to: server.socket + ".observer")
      do { _ = try server.client().ask(for: index) }
      let isUnderWay = try eventually {
        let status = try observer.status()
        return status.buffers.count == 1 && status.connections.count == 1
      }
      #expect(isUnderWay)
    }
    server.stop()
    if isDoneInTime {
      usleep(50_000)
      #expect(!server.hasEnded, "while a worker has the vmo")
    } else {
      server.waitForEnd()
    }
    server.gate.open()
    server.waitForEnd()
    let isGone = try eventually {
      try SmallFile.entries(of: "/proc/self/fd").allSatisfy { number in
        (try? SmallFile.link("/proc/self/fd/\(number)")) != "/memfd:\(key) (deleted)"
      }
    }
    #expect(isGone)
  }

  @Test func `a stop answers what is under way and takes nothing new`() throws {
    let server = try GatedServer()
    let client = try server.client()
    let request = try client.ask(for: 0)
    // Read, and not only sent.
    #expect(try client.refusal(0) == .alreadyExists)
    server.stop()
    let isStopped = eventually { (try? WireClient(to: server.socket).hasNews(within: 50)) != true }
    #expect(isStopped)
    try client.request { transaction, bytes in
      DeleteVmoRequest(bufferCollectionID: 1, bufferIndex: 1).encode(
        transactionID: transaction, into: &bytes)
    }
    server.gate.open()
    server.waitForEnd()
    // Nor is the answer preceded by an error because of what was not read.
    #expect(client.pendingError == 0)
    let answer = try #require(try client.receive())
    #expect(answer.header?.transactionID == request && answer.handles.count == 1)
    #expect(try client.receive() == nil)
    #expect(unsafe access(server.socket, F_OK) != 0)
    #expect(unsafe access(server.socket + ".observer", F_OK) != 0)
  }

  @Test func `a stop answers a deletion whose buffer is going back`() throws {
    let server = try GatedServer()
    let client = try server.client()
    var buffer: SharedFD? = try client.allocate(0, size: GatedHeap.lastingSize)
    try client.sendDelete(0, try #require(buffer))
    buffer = nil
    // Read, and not only sent: until then its key is a live buffer's.
    #expect(try client.refusal(0) == .alreadyExists)
    server.stop()
    let isStopped = eventually { (try? WireClient(to: server.socket).hasNews(within: 50)) != true }
    #expect(isStopped)
    server.gate.open()
    server.waitForEnd()
    try client.receiveDeleted(client.lastTransaction - 1)
    #expect(try client.receive() == nil)
  }
}

extension GatedServer {
  fileprivate func client(as user: TestUser? = nil) throws -> WireClient {
    let client = try WireClient(to: socket, as: user)
    guard try client.receive()?.decode(OnRegisterEvent.self) != nil else {
      throw Unexpected("OnRegister", nil)
    }
    return client
  }
}

extension WireClient {
  /// Asks for an allocation that waits for the gate.
  fileprivate func ask(for index: UInt64) throws -> UInt32 {
    let message = AllocateVmoRequest(
      size: GatedHeap.slowSize, settings: SingleBufferSettings(), bufferCollectionID: 7,
      bufferIndex: index)
    return try request { message.encode(transactionID: $0, into: &$1) }
  }
}
