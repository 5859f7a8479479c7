import HeapTestKit
import TestSupport
import Testing

@testable import LinuxHeaps

// Other tests of this process open descriptors meanwhile, so each has a process of its own.
@Suite struct DescriptorLeakTests {
  @Test func `2,000 buffers, allocated, sliced, passed and closed, leave no descriptor open`() async
  {
    await #expect(processExitsWith: .success) {
      let hasHeap = HeapCatalog().heaps().contains { $0.name == "system" }
      let heap: any LocalHeap = hasHeap ? DMABufHeap(heaps: ["system"]) : MemfdHeap()
      let sockets = try MessageSocket.Pair()
      try await openWhatStaysOpen(heap)
      let before = try await openDescriptorsAtRest()
      for index: UInt64 in 0..<2000 {
        let key = BufferKey.fresh(index)
        let vmo = try heap.allocate(key, size: 2 * pageSize)
        let slice = try vmo.slice(offset: pageSize, byteCount: pageSize)
        try sockets.near.send([0], passing: slice)
        // Received and closed, and every third time left to the message to close.
        if var message = try sockets.far.receive(), index % 3 != 0 {
          _ = try VMO(adopting: message.descriptors.next()!)
        }
        if index % 2 == 0 {
          close(slice)
          try await heap.delete(key, vmo)
        } else {
          close(vmo)
          close(slice)
        }
      }
      let areReclaimed = try await eventuallyHolds { heap.buffers.count == 0 }
      precondition(areReclaimed)
      try await expectOpenDescriptors(before)
    }
  }

  // A process that has no buffers can be checkpointed (CRIU knows no dma-buf devices).
  @Test func `a while after the last buffer, no heap and no fdinfo file is open`() async {
    await #expect(processExitsWith: .success) {
      let heap = TestHeaps.make(TestHeaps.dmaBufs.first ?? "memfd")
      for index: UInt64 in 0..<3 {
        let vmo = try heap.allocate(.fresh(index))
        _ = try vmo.duplicate().releaseDescriptor()
        close(vmo)
      }
      var kept: [String] = []
      let areClosed = try await eventuallyHolds {
        kept = try SmallFile.entries(of: "/proc/self/fd").compactMap {
          try? SmallFile.link("/proc/self/fd/\($0)")
        }.filter(OpenDescriptors.isKept)
        return kept.isEmpty && heap.buffers.count == 0
      }
      if !areClosed { fatalError("\(kept)") }
      // And buffers come again.
      close(try heap.allocate(.fresh()))
    }
  }

  @Test func `refusals leave no descriptor open`() async {
    await #expect(processExitsWith: .success) {
      let heap = MemfdHeap()
      try await openWhatStaysOpen(heap)
      let key = BufferKey.fresh()
      let vmo = try heap.allocate(key)
      let before = try await openDescriptorsAtRest()
      for _ in 0..<100 {
        let empty = SharedBox(try Memfd.create("empty", size: 0))
        precondition(
          refusal { () throws(HeapError) in try VMO(adopting: empty.take()) } != nil)
        precondition(refusal { () throws(HeapError) in try heap.allocate(key) } != nil)
        precondition(
          refusal { () throws(HeapError) in try heap.allocate(.fresh(), size: 1 << 50) } != nil)
        precondition(
          refusal { () throws(HeapError) in try vmo.slice(offset: 1, byteCount: 1) } != nil)
        let copy = try vmo.duplicate()
        let error = try await heap.refusalToDelete(.fresh(), copy)
        precondition(error?.code == .notFound)
      }
      let after = try await openDescriptorsAtRest()
      if after != before { fatalError("\(after), not \(before)") }
    }
  }

  @Test func `a reclaimer that is gone leaves no descriptor open`() async {
    await #expect(processExitsWith: .success) {
      try await openWhatStaysOpen(MemfdHeap())
      let before = try await openDescriptorsAtRest()
      for _ in 0..<50 {
        let key = BufferKey.fresh()
        let heap = MemfdHeap(reclaimer: Reclaimer())
        try await heap.delete(key, heap.allocate(key))
      }
      // The threads end by themselves, after their heaps.
      try await expectOpenDescriptors(before)
    }
  }
}

/// The reclaimer's thread, /proc/self/fdinfo, and the timer of the runtime's first sleep: not of one that
/// is over before its thread gets to it.
private func openWhatStaysOpen(_ heap: any LocalHeap) async throws {
  let key = BufferKey.fresh()
  try await heap.delete(key, VMO(adopting: heap.allocate(key).releaseDescriptor()))
  while try !openDescriptors().contains("anon_inode:[timerfd]") {
    try await Task.sleep(for: .milliseconds(1))
  }
}

private func expectOpenDescriptors(_ wanted: [String]) async throws {
  var now: [String] = []
  let areThose = try await eventuallyHolds {
    now = try openDescriptors()
    return now == wanted
  }
  if !areThose { fatalError("\(now), not \(wanted)") }
}

/// When a thread that was at work, e.g. the reclaimer's with a file of /proc, is done.
private func openDescriptorsAtRest() async throws -> [String] {
  var last: [String] = []
  var equal = 0
  let areAtRest = try await eventuallyHolds {
    let now = try openDescriptors()
    equal = now == last ? equal + 1 : 0
    last = now
    return equal == 20
  }
  if !areAtRest { fatalError("descriptors come and go: \(last)") }
  return last
}
