import Glibc
import HeapClient
import HeapProtocol
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// What a client asks for, and what it makes of what comes, in time or late.
@Suite(.serialized) struct RemoteRequestTests {
  private static let key = BufferKey(bufferCollectionID: 1, bufferIndex: 1)

  private static func allocate(
    _ heap: RemoteHeap, _ index: UInt64 = 1, cleanup: [CleanupAction] = []
  ) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: index,
      cleanup: cleanup)
  }

  private static func allocateLater(
    _ heap: RemoteHeap, _ index: UInt64 = 1
  ) async throws(HeapError) -> VMO {
    try await heap.allocateVmo(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: index)
  }

  /// A client, and its service's end.
  private static func connect(
    _ service: ScriptedService, deadline: Duration? = nil
  ) async throws -> (RemoteHeap, SharedSocket) {
    let path = service.path
    let client = Task { try RemoteHeap(socket: path, deadline: deadline) }
    let socket = SharedSocket(try service.acceptHeap())
    return (try await client.value, socket)
  }

  private final class SharedSocket: Sendable {
    let end: MessageSocket
    init(_ end: consuming MessageSocket) { self.end = end }
  }

  // MARK: Requests

  @Test(.timeLimit(.minutes(1)))
  func `an allocation is one request, and so is a deletion`() async throws {
    let service = try ScriptedService()
    let (heap, socket) = try await Self.connect(service)
    let cleanups = Guarded(0)
    for round in 0..<2 {
      let client = Task {
        let vmo = try Self.allocate(heap, cleanup: [{ cleanups.withLock { $0 += 1 } }])
        #expect(heap.liveBufferCount == 1 && cleanups.withLock { $0 } == round)
        if round == 0 { return try Self.delete(heap, vmo) }
        try await heap.deleteVmo(bufferCollectionID: 1, bufferIndex: 1, vmo: vmo)
      }
      try socket.end.answerAllocation(try socket.end.takeRequest(.allocateVmo))
      try socket.end.answerDeletion(try socket.end.takeRequest(.deleteVmo))
      try await client.value
      #expect(heap.liveBufferCount == 0 && cleanups.withLock { $0 } == round + 1)
    }
    #expect(!socket.end.hasRequest && !service.hasObserver)
  }

  private static func delete(_ heap: RemoteHeap, _ vmo: consuming VMO) throws(HeapError) {
    try heap.deleteVmo(bufferCollectionID: 1, bufferIndex: 1, vmo: vmo)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a deletion by a vmo that the service alone knows is one of the buffer`() async throws {
    let service = try ScriptedService()
    let (heap, socket) = try await Self.connect(service)
    let cleanups = Guarded(0)
    let client = Task {
      _ = try Self.allocate(heap, cleanup: [{ cleanups.withLock { $0 += 1 } }])
      let other = try VMO(adopting: try Memfd.create("other", size: pageSize))
      try await heap.deleteVmo(bufferCollectionID: 1, bufferIndex: 1, vmo: other)
      #expect(heap.liveBufferCount == 0 && cleanups.withLock { $0 } == 1)
    }
    try socket.end.answerAllocation(try socket.end.takeRequest(.allocateVmo))
    let observer = try service.acceptObserver()
    try observer.answerInfo(try observer.takeRequest(.getVmoInfo), Self.key)
    try socket.end.answerDeletion(try socket.end.takeRequest(.deleteVmo))
    try await client.value
  }

  @Test(.timeLimit(.minutes(1)))
  func `an event ends the buffer that had the name when it was sent`() async throws {
    let service = try ScriptedService()
    let (heap, socket) = try await Self.connect(service)
    let ended = Guarded<[Int]>([])
    for number in 0..<3 {
      let client = Task {
        _ = try Self.allocate(heap, cleanup: [{ ended.withLock { $0.append(number) } }])
      }
      let request = try socket.end.takeRequest(.allocateVmo)
      // One of no buffer at first, and of the last one then.
      try socket.end.tellReclaimed(Self.key)
      try socket.end.tellNews()
      try socket.end.answerAllocation(request)
      try await client.value
      #expect(eventually { ended.withLock { $0 } == Array(0..<number) })
      #expect(eventually { heap.liveBufferCount == 1 })
    }
    // Told while no call waits.
    try socket.end.tellReclaimed(Self.key)
    #expect(eventually { heap.liveBufferCount == 0 })
    #expect(ended.withLock { $0 } == [0, 1, 2])
  }

  @Test(.timeLimit(.minutes(1)))
  func `a service that cannot tell of ends is refused`() async throws {
    let service = try ScriptedService()
    let path = service.path
    let client = Task { _ = try RemoteHeap(socket: path) }
    do {
      let socket = try service.greet()
      _ = try socket.takeRequest(.watchBuffers)
      try socket.end(.notSupported)
    }
    let refusal = await #expect(throws: HeapError.self) { try await client.value }
    #expect(refusal?.code == .notSupported)
    #expect(refusal?.fix == "use a service of the same version")
  }

  @Test(.timeLimit(.minutes(1)))
  func `a vmo that is smaller than asked for is refused`() async throws {
    let service = try ScriptedService()
    let (heap, socket) = try await Self.connect(service)
    let client = Task {
      _ = try await heap.allocateVmo(
        size: pageSize + 1, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 1)
    }
    try socket.end.answerAllocation(try socket.end.takeRequest(.allocateVmo))
    let refusal = await #expect(throws: HeapError.self) { try await client.value }
    #expect(refusal?.code == .internal)
    #expect(heap.liveBufferCount == 0)
  }

  @Test(.timeLimit(.minutes(1)))
  func `threads wait for different answers at a time`() async throws {
    let service = try ScriptedService()
    let (heap, socket) = try await Self.connect(service)
    let served = Guarded<Set<UInt64>>([])
    for index: UInt64 in 0..<8 {
      try KernelThread.start("caller") {
        do throws(HeapError) {
          let vmo = try Self.allocate(heap, index)
          _ = served.withLock { $0.insert(index) }
          _ = consume vmo
        } catch {
          Issue.record(error)
        }
      }
    }
    // Backwards, so that whoever receives has to receive for others.
    let requests = try (0..<8).map { _ in try socket.end.takeRequest(.allocateVmo) }
    for request in requests.reversed() { try socket.end.answerAllocation(request) }
    #expect(eventually { served.withLock { $0.count } == 8 })
  }

  @Test(.timeLimit(.minutes(1)))
  func `who may not block does not, though the service reads nothing`() async throws {
    let service = try ScriptedService()
    let (heap, socket) = try await Self.connect(service)
    let first = Task { HeldVMO(try await Self.allocateLater(heap)) }
    try socket.end.answerAllocation(try socket.end.takeRequest(.allocateVmo))
    let held = try await first.value
    // More than the socket takes.
    let allocations = (0..<1000 as Range<UInt64>).map { index in
      Task { HeldVMO(try await Self.allocateLater(heap, 2 + index)) }
    }
    let deletions = Guarded(0)
    let deletion = Task {
      if let vmo = held.take() {
        try await heap.deleteVmo(bufferCollectionID: 1, bufferIndex: 1, vmo: vmo)
      }
      deletions.withLock { $0 += 1 }
    }
    // There are fewer threads for tasks than these.
    for _ in 0..<100 { await Task { await Task.yield() }.value }
    #expect(deletions.withLock { $0 } == 0)
    for _ in 0..<1001 {
      let request = try socket.end.takeRequest()
      if request.ordinal == .deleteVmo {
        try socket.end.answerDeletion(request)
      } else {
        try socket.end.refuse(request, .noMemory)
      }
    }
    try await deletion.value
    for allocation in allocations {
      let refusal = await #expect(throws: HeapError.self) { _ = try await allocation.value }
      #expect(refusal?.code == .noMemory)
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func `what clean-up actions hold is let go when the service ends`() async throws {
    let service = try ScriptedService()
    let before = try OwnResources.atRest()
    let runs = Guarded(0)
    do {
      let (heap, socket) = try await Self.connect(service)
      let client = Task {
        let action: CleanupAction = { runs.withLock { $0 += heap.liveBufferCount } }
        return HeldVMO(try Self.allocate(heap, cleanup: [action]))
      }
      try socket.end.answerAllocation(try socket.end.takeRequest(.allocateVmo))
      _ = try await client.value
    }
    #expect(
      eventually { (try? OwnResources()) == before },
      "\((try? OwnResources())?.description ?? ""), not \(before)")
    #expect(runs.withLock { $0 } == 0)
  }

  // MARK: Deadlines

  private static let deadline: Duration = .milliseconds(50)
  /// Of heaps some of whose calls are answered, by a test that may have to wait for a processor.
  private static let longDeadline: Duration = .seconds(1)

  @Test func `a vmo tells which heap served it`() throws {
    for name in ["memfd", "opaque"] {
      let daemon = try Daemon(heap: [name])
      let heap = try RemoteHeap(socket: daemon.socket)
      #expect(try heap.allocate(byteCount: 1).heapName == name)
    }
  }

  @Test(.timeLimit(.minutes(1))) func `a service that accepts nobody, or greets nobody`() throws {
    let service = try ScriptedService()
    // The queue holds more than one.
    let refusal = #expect(throws: HeapError.self) {
      _ = try RemoteHeap(socket: service.path, deadline: Self.deadline)
    }
    #expect(refusal?.code == .timedOut)
    #expect(refusal?.cause == "no answer within 0.05 seconds")
    for _ in 0..<16 {
      let start = ContinuousClock.now
      let refusal = #expect(throws: HeapError.self) {
        _ = try RemoteHeap(socket: service.path, deadline: Self.deadline)
      }
      #expect(refusal?.code == .timedOut)
      #expect(ContinuousClock.now - start >= Self.deadline)
    }
  }

  @Test(.timeLimit(.minutes(1)), arguments: [false, true])
  func `a late allocation is closed, and the heap goes on`(_ isAsync: Bool) async throws {
    let service = try ScriptedService()
    let (heap, socket) = try await Self.connect(service, deadline: Self.longDeadline)
    var reader: SharedFD?
    for number in 0..<3 {
      let start = ContinuousClock.now
      let refusal = await #expect(throws: HeapError.self) {
        if isAsync { _ = try await Self.allocateLater(heap) } else { _ = try Self.allocate(heap) }
      }
      #expect(refusal?.code == .timedOut)
      #expect(ContinuousClock.now - start >= Self.longDeadline)
      let request = try socket.end.takeRequest(.allocateVmo)
      if number == 2 {
        let pipe = try OddFile.pipe()
        reader = pipe.read
        try socket.end.answerAllocation(request, passing: pipe.write.fd)
      }
    }
    #expect(heap.liveBufferCount == 0)
    #expect(reader?.isHungUp(within: 60_000) == true)
    let client = Task { _ = try Self.allocate(heap) }
    try socket.end.answerAllocation(try socket.end.takeRequest(.allocateVmo))
    try await client.value
    #expect(heap.liveBufferCount == 1)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a late deletion still ends its buffer`() async throws {
    let service = try ScriptedService()
    let (heap, socket) = try await Self.connect(service, deadline: .seconds(5))
    let cleanups = Guarded(0)
    let client = Task {
      let vmo = try Self.allocate(heap, cleanup: [{ cleanups.withLock { $0 += 1 } }])
      try await heap.deleteVmo(bufferCollectionID: 1, bufferIndex: 1, vmo: vmo)
    }
    try socket.end.answerAllocation(try socket.end.takeRequest(.allocateVmo))
    let refusal = await #expect(throws: HeapError.self) { try await client.value }
    #expect(refusal?.code == .timedOut)
    #expect(heap.liveBufferCount == 1 && cleanups.withLock { $0 } == 0)
    try socket.end.answerDeletion(try socket.end.takeRequest(.deleteVmo))
    #expect(eventually { heap.liveBufferCount == 0 })
    #expect(cleanups.withLock { $0 } == 1)
  }

  @Test(.timeLimit(.minutes(1)))
  func `all that wait are let go at their deadlines`() async throws {
    let service = try ScriptedService()
    let (heap, socket) = try await Self.connect(service, deadline: Self.longDeadline)
    let codes = Guarded<[HeapError.Code]>([])
    for index: UInt64 in 0..<4 {
      try KernelThread.start("caller") {
        do throws(HeapError) { _ = try Self.allocate(heap, index) } catch {
          codes.withLock { $0.append(error.code) }
        }
      }
    }
    let tasks = (4..<8 as Range<UInt64>).map { index in
      Task {
        do throws(HeapError) { _ = try await Self.allocateLater(heap, index) } catch {
          codes.withLock { $0.append(error.code) }
        }
      }
    }
    for task in tasks { await task.value }
    #expect(eventually { codes.withLock { $0.count } == 8 })
    #expect(codes.withLock { $0.allSatisfy { $0 == .timedOut } })
    _ = try socket.end.takeRequest(.allocateVmo)
  }
}
