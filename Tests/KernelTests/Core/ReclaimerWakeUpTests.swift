import TestSupport
import Testing

@testable import LinuxHeaps

/// The thread's counters, not the clock, tell whether it slept.
@Suite struct ReclaimerWakeUpTests {
  private static func countersDuringASleep(
    _ reclaimer: Reclaimer
  ) async throws -> [Reclaimer.Counters] {
    let before = reclaimer.counters
    // Longer than many first rechecks of 1 ms.
    try await Task.sleep(for: .milliseconds(100))
    return [before, reclaimer.counters]
  }

  @Test func `there is no thread before the first buffer`() async throws {
    let reclaimer = Reclaimer()
    let heap = MemfdHeap(reclaimer: reclaimer)
    #expect(try await Self.countersDuringASleep(reclaimer) == [.init(), .init()])
    #expect(heap.buffers.count == 0)
  }

  @Test func `it sleeps while no buffer is live`() async throws {
    let reclaimer = Reclaimer()
    let heap = MemfdHeap(reclaimer: reclaimer)
    let key = BufferKey.fresh()
    try await heap.delete(key, heap.allocate(key))
    #expect(try await eventuallyHolds { reclaimer.counters.reclaimed == 1 })
    // The last turn ends with a report of the close that was heard meanwhile, or with none.
    try await Self.settle(reclaimer)
    let counters = try await Self.countersDuringASleep(reclaimer)
    #expect(counters[0] == counters[1])
    #expect(counters[1].live == 0)
  }

  @Test func `it sleeps while every live buffer has a holder here`() async throws {
    let reclaimer = Reclaimer()
    let heap = MemfdHeap(reclaimer: reclaimer)
    let vmo = try heap.allocate(.fresh())
    let slice = try vmo.slice(offset: 0, byteCount: pageSize)
    let mapping = try slice.map()
    try await Self.settle(reclaimer)
    let counters = try await Self.countersDuringASleep(reclaimer)
    #expect(counters[0] == counters[1])
    #expect(counters[1].live == 1)
    #expect(counters[1].checks == 0)
    try mapping.poke(1, at: 0)
    #expect(slice.byteCount == vmo.byteCount)
  }

  // But for one that the thread is looking at in that moment, which then takes it back.
  @Test(arguments: TestHeaps.names)
  func `the last close in this process takes the buffer back before it returns`(
    _ name: String
  ) throws {
    let heap = TestHeaps.make(name)
    var late = 0
    for _ in 0..<20 {
      let vmo = try heap.allocate(.fresh())
      let copy = try vmo.duplicate()
      close(vmo)
      #expect(heap.buffers.count == 1)
      close(copy)
      if heap.buffers.count > 0 { late += 1 }
      #expect(eventually { heap.buffers.count == 0 })
    }
    #expect(late < 10)
  }

  @Test func `it sleeps again after a look at a buffer with a holder here`() async throws {
    let reclaimer = Reclaimer()
    let heap = MemfdHeap(reclaimer: reclaimer)
    let vmo = try heap.allocate(.fresh())
    try await Self.settle(reclaimer)
    let wakeups = reclaimer.counters.wakeups
    reclaimer.recheckNow()
    #expect(try await eventuallyHolds { reclaimer.counters.wakeups > wakeups })
    try await Self.settle(reclaimer)
    let counters = try await Self.countersDuringASleep(reclaimer)
    #expect(counters[0] == counters[1])
    // The kernel was not asked.
    #expect(counters[1].checks == 0)
    #expect(vmo.byteCount == pageSize)
  }

  // A memfd's close is an event, whoever closes it.
  @Test func `it sleeps while a memfd has a holder elsewhere`() async throws {
    let reclaimer = Reclaimer()
    let heap = MemfdHeap(reclaimer: reclaimer)
    let descriptor = try heap.allocate(.fresh()).releaseDescriptor()
    try await Self.settle(reclaimer)
    let counters = try await Self.countersDuringASleep(reclaimer)
    #expect(counters[0] == counters[1])
    #expect(counters[1].live == 1)
    // Handing the descriptor on is no close.
    #expect(counters[1].checks == 0)
    _ = consume descriptor
    #expect(try await eventuallyHolds { reclaimer.counters.reclaimed == 1 })
  }

  @Test func `it can be told to look`() async throws {
    let reclaimer = Reclaimer()
    let heap = MemfdHeap(reclaimer: reclaimer)
    let descriptor = try heap.allocate(.fresh()).releaseDescriptor()
    reclaimer.recheckNow()
    #expect(try await eventuallyHolds { reclaimer.counters.checks == 1 })
    #expect(reclaimer.counters.live == 1)
    _ = consume descriptor
    #expect(try await eventuallyHolds { reclaimer.counters.live == 0 })
  }

  /// Until the thread has done what was under way: two looks at the counters agree.
  private static func settle(_ reclaimer: Reclaimer) async throws {
    #expect(try await eventuallyHolds { reclaimer.counters.wakeups > 0 })
    var last: Reclaimer.Counters?
    var equal = 0
    let isSettled = try await eventuallyHolds {
      let counters = reclaimer.counters
      equal = counters == last ? equal + 1 : 0
      last = counters
      return equal == 20
    }
    #expect(isSettled)
  }
}
