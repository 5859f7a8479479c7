import Glibc
import HeapClient
import LinuxHeaps
import TestSupport
import Testing

@testable import HeapTestKit

// One after the other: descriptors are those of the whole process.
@Suite(.serialized) struct StressRunTests {
  private static func run(
    _ heap: any Heap, seed: UInt64 = 7, steps: Int = 100, patience: Duration = .seconds(60)
  ) async throws -> StressReport {
    let run = try await StressRun(
      heap: heap, name: "memfd", settings: SingleBufferSettings(), seed: seed, patience: patience)
    return try await run.run(until: .steps(steps))
  }

  @Test func `a heap that keeps the contract is found to`() async throws {
    let first = try await Self.run(MemfdHeap())
    #expect(first.failure == nil)
    #expect(first.leaks == [])
    #expect(first.hasPassed)
    #expect(first.steps == 100)
    let same = try await Self.run(MemfdHeap())
    #expect(same.digest == first.digest)
    #expect(same.counts == first.counts)
    #expect(try await Self.run(MemfdHeap(), seed: 8).digest != first.digest)
    #expect(try await Self.run(MemfdHeap(), steps: 99).digest != first.digest)
  }

  @Test func `a heap that keeps a child is found out`() async throws {
    let report = try await Self.run(FaultyHeap(.hoards), patience: .seconds(1))
    #expect(report.failure?.contains("which nobody holds any more, is reclaimed") == true)
    #expect(report.failure?.hasPrefix("step \(report.steps), ") == true)
    #expect(report.leaks.contains { $0.hasPrefix("buffers that the heap has not reclaimed: ") })
    let claim = "descriptors open that were not before: /memfd:"
    #expect(report.leaks.contains { $0.hasPrefix(claim) })
    #expect(!report.hasPassed)
  }

  @Test(arguments: [
    (FaultyHeap.Fault.cleansEarly, "is 1, should be 0"),
    (.cleansTwice, "is 2, should be 1"),
    (.cleansNever, "is 0, should be 1"),
    (.deletesEarly, "has not returned while the model has"),
    (.givesOther, "the heap knows the buffer that it gave out"),
    (.confuses, "what a handle tells of its buffer is "),
  ])
  func `a heap that is wrong in another way is found out`(
    _ fault: FaultyHeap.Fault, _ claim: String
  ) async throws {
    let report = try await Self.run(FaultyHeap(fault), patience: .seconds(1))
    #expect(report.failure?.contains(claim) == true, "\(report.failure ?? "no failure")")
  }

  @Test(.timeLimit(.minutes(5)))
  func `the heap of a service is worked on as one in this process`() async throws {
    let daemon = try Daemon()
    let report = try await Self.run(try RemoteHeap(socket: daemon.socket))
    #expect(report.failure == nil)
    #expect(report.leaks == [])
    #expect(report.digest == (try await Self.run(MemfdHeap())).digest)
  }

  @Test(arguments: [
    (FaultyHeap.Fault.hoards, "which nobody holds any more, is reclaimed"),
    (.cleansEarly, "is 1, should be 0"),
    (.cleansTwice, "is 2, should be 1"),
    (.cleansNever, "which nobody holds any more, is reclaimed"),
    (.deletesEarly, "has not returned while the model has"),
    (.givesOther, "the heap knows the buffer that it gave out"),
    (.confuses, "the heap knows the buffer that it gave out"),
  ])
  func `a wrong heap is found out of which nothing but the protocol is known`(
    _ fault: FaultyHeap.Fault, _ claim: String
  ) async throws {
    let report = try await Self.run(
      OnlyHeap(heap: FaultyHeap(fault)), patience: .seconds(1))
    #expect(report.failure?.contains(claim) == true, "\(report.failure ?? "no failure")")
  }

  @Test func `what others close meanwhile hides nothing that is left open`() throws {
    let others = try Memfd.create("others", size: pageSize)
    let before = try OpenDescriptors()
    _ = consume others
    let left = try Memfd.create("left", size: pageSize)
    #expect(try OpenDescriptors().opened(since: before) == ["/memfd:left (deleted)"])
    _ = consume left
  }

  @Test func `its caller ends it, and nothing leaks`() async throws {
    let run = try await StressRun(
      heap: MemfdHeap(), name: "memfd", settings: SingleBufferSettings(), seed: 7)
    let steps = Guarded(0)
    let report = try await run.run(
      until: .time(.seconds(600)), isEnded: { steps.withLock { $0 } >= 50 }
    ) { step in steps.withLock { $0 = step + 1 } }
    #expect(report.wasEnded)
    #expect(report.steps == 50)
    #expect(report.hasPassed)
  }

  @Test func `what the heap has no room for, the run does without`() async throws {
    let heap = MemfdHeap(admission: Admission(budget: 1 << 20))
    let report = try await Self.run(heap, steps: 200)
    #expect(report.refused > 0)
    #expect(report.failure == nil)
    #expect(report.leaks == [])
    #expect(report.digest == (try await Self.run(MemfdHeap(), steps: 200)).digest)
  }
}

/// A heap that is no ``LocalHeap``.
private struct OnlyHeap: Heap {
  let heap: any Heap

  var properties: HeapProperties { heap.properties }
  var liveBufferCount: Int { heap.liveBufferCount }

  func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: size, settings: settings, bufferCollectionID: bufferCollectionID,
      bufferIndex: bufferIndex, cleanup: cleanup)
  }

  func deleteVmo(
    bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: consuming VMO
  ) async throws(HeapError) {
    try await heap.deleteVmo(
      bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex, vmo: vmo)
  }

  func info(of vmo: borrowing VMO) throws(HeapError) -> BufferKey { try heap.info(of: vmo) }

  func attachLifetimeTracking(
    _ descriptor: consuming OwnedFD, bufferCollectionID: UInt64, buffersRemaining: UInt32
  ) throws(HeapError) {
    try heap.attachLifetimeTracking(
      descriptor, bufferCollectionID: bufferCollectionID, buffersRemaining: buffersRemaining)
  }
}

/// A memfd heap that breaks the contract in one way.
struct FaultyHeap: LocalHeap {
  enum Fault {
    case hoards, cleansEarly, cleansTwice, cleansNever, deletesEarly, givesOther, confuses
  }

  private let fault: Fault
  private let inner = MemfdHeap()
  private let hoard = Guarded<[ReturnedVMO]>([])

  init(_ fault: Fault) { self.fault = fault }

  var properties: HeapProperties { inner.properties }
  var buffers: LiveBuffers { inner.buffers }

  func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    try inner.makeMemory(for: request)
  }

  func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    let actions: [CleanupAction] =
      switch fault {
      case .cleansTwice: cleanup + cleanup
      case .cleansNever: []
      default: cleanup
      }
    let vmo = try inner.allocateVmo(
      size: size, settings: settings, bufferCollectionID: bufferCollectionID,
      bufferIndex: bufferIndex, cleanup: actions)
    switch fault {
    // Not the page that a run begins with, which it gives back alone.
    case .hoards where !cleanup.isEmpty:
      let kept = ReturnedVMO(try vmo.duplicate())
      hoard.withLock { $0.append(kept) }
    case .cleansEarly: for action in cleanup { action() }
    case .givesOther where !cleanup.isEmpty:
      let other: OwnedFD
      do { other = try Memfd.create("other", size: vmo.byteCount) } catch {
        throw HeapError(error, "make another file")
      }
      return try VMO(adopting: other)
    default: break
    }
    return vmo
  }

  func deleteVmo(
    bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: consuming VMO
  ) async throws(HeapError) {
    guard fault == .deletesEarly else {
      return try await inner.deleteVmo(
        bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex, vmo: vmo)
    }
    let taken = ReturnedVMO(vmo)
    let inner = self.inner
    Task {
      try await inner.deleteVmo(
        bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex, vmo: taken.take()!)
    }
  }

  func info(of vmo: borrowing VMO) throws(HeapError) -> BufferKey {
    let key = try inner.info(of: vmo)
    guard fault == .confuses else { return key }
    return BufferKey(
      bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex + 1)
  }
}
