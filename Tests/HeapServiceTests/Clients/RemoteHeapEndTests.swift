import Foundation
import Glibc
import HeapProtocol
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

@testable import HeapClient

/// What a client sees of its server's end.
@Suite(.serialized) struct RemoteHeapEndTests {
  private static let collection: UInt64 = 0xbee0_0000_0000_0007

  private static func allocate(
    _ heap: RemoteHeap, _ index: UInt64, cleanup: [CleanupAction] = []
  ) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: collection,
      bufferIndex: index, cleanup: cleanup)
  }

  @Test(.timeLimit(.minutes(5)))
  func `calls under way fail with PEER_CLOSED, and leave neither files nor threads`() async throws {
    let manager = try StandInManager(heap: MemfdHeap.name)
    try manager.start()
    // Some descriptors are opened at first use, and kept.
    _ = try Self.allocate(try manager.connect(), 1)
    let before = try OwnResources.atRest()
    try await failAllCalls(manager)
    // It has the stand-in let go of what nobody holds any more.
    try manager.start()
    #expect(
      eventually { (try? OwnResources()) == before },
      "\((try? OwnResources())?.description ?? ""), not \(before)")

    let heap = try manager.connect()
    let vmo = try Self.allocate(heap, 1)
    try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: 1, vmo: vmo)
  }

  private func failAllCalls(_ manager: StandInManager) async throws {
    let heap = try manager.connect()
    let held = HeldVMO(try Self.allocate(heap, 2))
    let other = try held.duplicate()
    let deletion = Task { () -> HeapError.Code? in
      guard let vmo = other?.take() else { return nil }
      do throws(HeapError) {
        try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: 2, vmo: vmo)
        return nil
      } catch {
        return error.code
      }
    }
    // Until it is begun the service knows the buffer.
    #expect(eventually { (try? held.info(from: heap)) == nil })
    Glibc.kill(try #require(manager.process), SIGSTOP)
    let codes = Guarded<[HeapError.Code?]>([])
    for index in 0..<12 {
      try KernelThread.start("caller") {
        let code = Self.call(index, heap, held)
        codes.withLock { $0.append(code) }
      }
    }
    // Most of them are under way by then; the rest begin after the end.
    usleep(20_000)
    #expect(codes.withLock { $0.isEmpty })
    manager.kill()
    #expect(eventually { codes.withLock { $0.count } == 12 })
    #expect(codes.withLock { $0 } == Array(repeating: .peerClosed, count: 12))
    #expect(await deletion.value == .peerClosed)
    let refusal = #expect(throws: HeapError.self) { _ = try heap.status() }
    #expect(refusal?.code == .peerClosed)
  }

  /// One of several calls; answers how it failed.
  private static func call(
    _ number: Int, _ heap: RemoteHeap, _ held: HeldVMO
  ) -> HeapError.Code? {
    do throws(HeapError) {
      switch number % 3 {
      case 0: _ = try allocate(heap, 3 + UInt64(number))
      case 1: _ = try heap.status()
      default: _ = try held.info(from: heap)
      }
      return nil
    } catch {
      return error.code
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func `what was answered before the end arrives, though other requests were not read`()
    async throws
  {
    let service = try ScriptedService()
    // Keeps the client from receiving anything more.
    let gate = DispatchSemaphore(value: 0)
    let connection = try Connection(to: service.path, timeout: nil, isPatient: true) { ordinal, _ in
      if ordinal == .onReclaimed { gate.wait() }
    }
    try connection.start()
    let replies: [PendingReply]
    do {
      let heap = try service.greet()
      try heap.tellReclaimed(BufferKey(bufferCollectionID: 1, bufferIndex: 1))
      replies = (0..<2).map { _ in connection.send(GetStatusRequest()) }
      try heap.answerAllocation(try heap.takeRequest())
      heap.waitForRequest()
      // Closed with the second request unread.
    }
    gate.signal()
    let answer = try await connection.answer(to: replies[0], "first")
    #expect(answer.decode(as: AllocateVmoResult.self) == .vmo(.first))
    let refusal = await #expect(throws: HeapError.self) {
      _ = try await connection.answer(to: replies[1], "second")
    }
    #expect(refusal?.code == .peerClosed)
    connection.join()
  }

  @Test(.timeLimit(.minutes(1)))
  func `a connection that is closed unanswered may be another program's`() async throws {
    let service = try ScriptedService()
    let path = service.path
    let client = Task { refusal { () throws(HeapError) in _ = try RemoteHeap(socket: path) } }
    _ = try service.greet()
    let error = await client.value
    #expect(error?.code == .peerClosed)
    #expect(error?.cause == "it was closed before it answered: is this heapd?")
    #expect(error?.fix?.hasPrefix("name heapd's socket, e.g. ") == true)
  }

  // As while a manager holds the sockets of a server that has just ended: who connects waits for the next one.
  @Test(.timeLimit(.minutes(1)))
  func `a call that nobody will answer ends with the service's connection`() async throws {
    let service = try ScriptedService()
    let path = service.path
    let client = Task { try RemoteHeap(socket: path) }
    let socket = try service.acceptHeap()
    let heap = try await client.value
    let code = Guarded<HeapError.Code?>(nil)
    try KernelThread.start("caller") {
      do throws(HeapError) { _ = try heap.status() } catch { code.withLock { $0 = error.code } }
    }
    #expect(eventually { service.hasObserver })
    #expect(code.withLock { $0 } == nil)
    _ = consume socket
    #expect(eventually { code.withLock { $0 } == .peerClosed })
  }

  @Test(.timeLimit(.minutes(10)))
  func `no call hangs while servers come and go`() async throws {
    var seed = StormSeed()
    let manager = try StandInManager(heap: MemfdHeap.name)
    try manager.start()
    _ = try Self.allocate(try manager.connect(), 1)
    let before = try OwnResources.atRest()
    let isOver = Guarded(false)
    let socket = manager.socket
    let clients = (0..<2 as Range<UInt64>).map { client in
      Task { await Self.use(socket, client, until: isOver) }
    }
    for _ in 0..<40 {
      usleep(.random(in: 0...20_000, using: &seed))
      manager.kill()
      try manager.start(awaitsReady: Bool.random(using: &seed))
    }
    isOver.withLock { $0 = true }
    var lost = 0
    for client in clients { lost += await client.value }
    #expect(lost > 5, "\(seed)")
    let heap = try manager.connect()
    #expect(try eventually { try ServerStatus(of: heap).quota.buffers == 0 }, "\(seed)")
    #expect(eventually { manager.store.entries.isEmpty }, "\(seed)")
    _ = consume heap
    #expect(
      eventually { (try? OwnResources()) == before },
      "\((try? OwnResources())?.description ?? ""), not \(before) \(seed)")
  }

  private static func use(_ heap: RemoteHeap, _ index: UInt64) async throws(HeapError) {
    let vmo = try allocate(heap, index)
    _ = try await heap.info(of: vmo)
    try await heap.deleteVmo(bufferCollectionID: collection, bufferIndex: index, vmo: vmo)
  }

  /// Allocates and deletes with one connection; answers why it ended.
  private static func end(
    _ socket: String, _ index: inout UInt64, until isOver: Guarded<Bool>
  ) async -> HeapError.Code? {
    do throws(HeapError) {
      let heap = try RemoteHeap(socket: socket)
      while !isOver.withLock({ $0 }) {
        index += 1
        try await use(heap, index)
      }
      return nil
    } catch {
      return error.code
    }
  }

  /// Answers how often its server ended.
  private static func use(
    _ socket: String, _ client: UInt64, until isOver: Guarded<Bool>
  ) async -> Int {
    var index = client << 32
    var lost = 0
    while let code = await end(socket, &index, until: isOver) {
      #expect(code == .peerClosed)
      lost += 1
    }
    return lost
  }
}
