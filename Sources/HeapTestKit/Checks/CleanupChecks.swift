internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

extension HeapCheck {
  static let cleanup: [HeapCheck] = [
    HeapCheck("cleanup-once", "clean-up runs once and in order, without a deletion") { bench in
      let steps = Guarded<[Int]>([])
      let cleanup = (1...3).map { step -> CleanupAction in { steps.withLock { $0.append(step) } } }
      let vmo = try bench.allocate(cleanup: cleanup)
      let slice = try vmo.slice(offset: 0, byteCount: pageSize)
      _ = consume vmo
      try bench.expectStillLive(while: "a slice is open")
      try expectEqual(steps.withLock { $0 }, [], "the steps done before the last close")
      _ = consume slice
      try bench.eventuallyReclaimed("the slice is closed")
      Reclaimer.shared.recheckNow()
      try expectEqual(steps.withLock { $0 }, [1, 2, 3], "the steps done")
    },

    HeapCheck("cleanup-before-close", "clean-up runs while the buffer still exists") { bench in
      // A memfd's pages and a dma-buf's reference are there as long as the parent is; the parent's
      // close is what takes the buffer off the heap's list.
      let heap = bench.heap
      let liveInCleanup = Guarded<[Int]>([])
      let vmo = try bench.allocate(cleanup: [
        { liveInCleanup.withLock { $0.append(heap.liveBufferCount) } }
      ])
      _ = consume vmo
      try bench.eventuallyReclaimed("its only handle is closed")
      try expectEqual(liveInCleanup.withLock { $0 }, [1], "the live buffers seen in clean-up")
    },

    HeapCheck("heap-dropped", "a heap that goes away cleans up nothing; its last child does") {
      bench in
      let done = Tally()
      var heap: (any Heap)? = try bench.subject.make()
      let vmo = try heap!.allocateVmo(
        size: CheckBench.size, settings: bench.subject.settings,
        bufferCollectionID: CheckBench.collection, bufferIndex: 0, cleanup: [{ done.add() }])
      heap = nil
      Reclaimer.shared.recheckNow()
      if vmo.kind != .opaque { try vmo.fill(3) }
      try expectEqual(done.count, 0, "clean-ups while the vmo is open")
      _ = consume vmo
      try bench.eventually("the buffer is cleaned up") { done.count == 1 }
    },

    HeapCheck(
      "lifetime-tracking", "a pipe is closed when all but so many buffers are reclaimed"
    ) { bench in
      let first = try bench.allocate(index: 1)
      let second = try bench.allocate(index: 2)
      let third = try bench.allocate(index: 3)
      func track() throws -> OwnedFD {
        var ends: [CInt] = [-1, -1]
        _ = try call { unsafe pipe(&ends) }
        let reading = OwnedFD(adopting: ends[0])
        try bench.heap.attachLifetimeTracking(
          OwnedFD(adopting: ends[1]), bufferCollectionID: CheckBench.collection,
          buffersRemaining: 1)
        return reading
      }
      let tracker = try track()
      try await bench.delete(first, index: 1)
      try expect(!tracker.isHungUp, "with two buffers left it is open")
      try await bench.delete(second, index: 2)
      try bench.eventually("with one buffer left it is closed") { tracker.isHungUp }
      let late = try track()
      try bench.eventually("where that is so already, it is closed at once") { late.isHungUp }
      _ = consume third
      try bench.eventuallyReclaimed("the last is closed")
    },
  ]
}

extension OwnedFD {
  /// Whether the writing end of a pipe is closed, everywhere.
  fileprivate var isHungUp: Bool {
    var descriptor = pollfd(fd: rawValue, events: 0, revents: 0)
    return unsafe poll(&descriptor, 1, 0) == 1 && descriptor.revents & Int16(POLLHUP) != 0
  }
}
