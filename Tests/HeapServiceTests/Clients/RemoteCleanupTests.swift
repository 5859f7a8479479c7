import Dispatch
import HeapClient
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// What is done at a buffer's end.
@Suite(.serialized) struct RemoteCleanupTests {
  private static func allocate(
    _ heap: RemoteHeap, _ index: UInt64, cleanup: [CleanupAction] = []
  ) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: index,
      cleanup: cleanup)
  }

  private static func delete(
    _ heap: RemoteHeap, _ index: UInt64, _ vmo: consuming VMO
  ) async throws(HeapError) {
    try await heap.deleteVmo(bufferCollectionID: 1, bufferIndex: index, vmo: vmo)
  }

  /// Uses a heap as an action may that is not async.
  private static func use(_ heap: RemoteHeap) throws(HeapError) {
    let vmo = try allocate(heap, 2)
    #expect(try heap.info(of: vmo).bufferIndex == 2)
    let held = HeldVMO(vmo)
    let isDeleted = DispatchSemaphore(value: 0)
    Task {
      if let vmo = held.take() { try await delete(heap, 2, vmo) }
      isDeleted.signal()
    }
    isDeleted.wait()
  }

  @Test(.timeLimit(.minutes(1)))
  func `clean-up actions may call the heap, and are done when their buffer's deletion is`()
    async throws
  {
    let daemon = try Daemon()
    let heap = try RemoteHeap(socket: daemon.socket)
    let done = Guarded<[String]>([])
    let vmo = try await heap.allocateVmo(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 1,
      cleanup: [
        {
          do throws(HeapError) { try Self.use(heap) } catch { Issue.record(error) }
          done.withLock { $0.append("used") }
        },
        { done.withLock { $0.append("second") } },
      ])
    #expect(heap.liveBufferCount == 1)
    try await Self.delete(heap, 1, vmo)
    #expect(done.withLock { $0 } == ["used", "second"])
    #expect(heap.liveBufferCount == 0)
  }

  @Test(.timeLimit(.minutes(1)))
  func `they may call it too where the vmo is dropped`() throws {
    let daemon = try Daemon()
    let heap = try RemoteHeap(socket: daemon.socket)
    let isDone = DispatchSemaphore(value: 0)
    _ = try Self.allocate(
      heap, 1,
      cleanup: [
        {
          do throws(HeapError) { try Self.use(heap) } catch { Issue.record(error) }
          isDone.signal()
        }
      ])
    isDone.wait()
    #expect(eventually { heap.liveBufferCount == 0 })
  }

  @Test(.timeLimit(.minutes(1)))
  func `an end that nobody asked for is told`() throws {
    let daemon = try Daemon()
    let heap = try RemoteHeap(socket: daemon.socket)
    let ended = Guarded<[UInt64]>([])
    for index: UInt64 in [1, 1, 2] {
      do {
        let vmo = try Self.allocate(heap, index, cleanup: [{ ended.withLock { $0.append(index) } }])
        #expect(heap.liveBufferCount == 1)
        _ = consume vmo
      }
      #expect(eventually { heap.liveBufferCount == 0 })
    }
    #expect(ended.withLock { $0 } == [1, 1, 2])
  }

  @Test(.timeLimit(.minutes(1)))
  func `a slow action holds up its own deletion alone`() async throws {
    let daemon = try Daemon()
    let heap = try RemoteHeap(socket: daemon.socket)
    let gate = DispatchSemaphore(value: 0)
    let slow = HeldVMO(
      try await heap.allocateVmo(
        size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 1,
        cleanup: [{ gate.wait() }]))
    let isDeleted = Guarded(false)
    let deletion = Task {
      if let vmo = slow.take() { try await Self.delete(heap, 1, vmo) }
      isDeleted.withLock { $0 = true }
    }
    #expect(try eventually { try ServerStatus(of: heap).quota.buffers == 0 })
    // Its name is free again, and both count while the action runs.
    let vmo = try await heap.allocateVmo(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 1)
    #expect(heap.liveBufferCount == 2)
    try await Self.delete(heap, 1, vmo)
    #expect(heap.liveBufferCount == 1 && !isDeleted.withLock { $0 })
    gate.signal()
    try await deletion.value
    #expect(heap.liveBufferCount == 0)
  }

  @Test(.timeLimit(.minutes(1)))
  func `actions run after their heap was dropped, and then nothing of it is left`() throws {
    let daemon = try Daemon()
    _ = try Self.allocate(try RemoteHeap(socket: daemon.socket), 9)
    let before = try OwnResources.atRest()
    let runs = Guarded(0)
    do {
      let vmo: VMO
      do {
        let heap = try RemoteHeap(socket: daemon.socket)
        vmo = try Self.allocate(heap, 1, cleanup: [{ runs.withLock { $0 += 1 } }])
      }
      #expect(runs.withLock { $0 } == 0)
      _ = consume vmo
    }
    #expect(eventually { runs.withLock { $0 } == 1 })
    #expect(eventually { (try? OwnResources()) == before })
  }
}
