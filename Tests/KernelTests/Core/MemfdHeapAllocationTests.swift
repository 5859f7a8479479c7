import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct MemfdHeapAllocationTests {
  @Test func `a vmo tells what it is`() throws {
    let heap = MemfdHeap()
    let key = BufferKey(bufferCollectionID: .random(in: 1 ... .max), bufferIndex: .max)
    let vmo = try heap.allocate(key, size: 3 * pageSize)
    #expect(vmo.kind == .memfd)
    #expect(vmo.offset == 0)
    #expect(vmo.byteCount == 3 * pageSize)
    #expect(vmo.heapName == "memfd")
    #expect(try vmo.name == key.description)
    #expect(try heap.info(of: vmo) == key)
    #expect(heap.buffers.count == 1)
  }

  @Test(
    arguments: [
      (1, pageSize), (pageSize - 1, pageSize), (pageSize, pageSize), (pageSize + 1, 2 * pageSize),
    ] as [(UInt64, UInt64)])
  func `a size is rounded up to pages`(_ size: UInt64, _ byteCount: UInt64) throws {
    let vmo = try MemfdHeap().allocate(.fresh(), size: size)
    #expect(vmo.byteCount == byteCount)
  }

  @Test(
    arguments: [
      (0, .invalidArgs), (.max, .outOfRange), (1 << 63, .outOfRange),
      ((1 << 63) - pageSize + 1, .outOfRange), ((1 << 63) - pageSize, .noMemory),
      (1 << 50, .noMemory),
    ] as [(UInt64, HeapError.Code)])
  func `an impossible size is refused`(_ size: UInt64, _ code: HeapError.Code) async throws {
    let heap = MemfdHeap()
    let diary = Diary()
    let key = BufferKey.fresh()
    let error = refusal { () throws(HeapError) in
      try heap.allocate(key, size: size, cleanup: [{ diary.write("cleanup") }])
    }
    #expect(error?.code == code)
    #expect(heap.buffers.count == 0)
    // The key is free, and nothing was made that could be cleaned up.
    try await heap.delete(key, heap.allocate(key))
    #expect(diary.entries == [])
  }

  @Test func `a live key is taken`() async throws {
    let admission = Admission(on: .of(available: 100))
    let heap = MemfdHeap(admission: admission)
    let key = BufferKey.fresh(3)
    let diary = Diary()
    let vmo = try heap.allocate(key)
    let error = refusal { () throws(HeapError) in
      try heap.allocate(key, size: 2 * pageSize, cleanup: [{ diary.write("cleanup") }])
    }
    #expect(error?.code == .alreadyExists)
    #expect(
      error?.cause == "buffer 3 of collection \(key.bufferCollectionID) is live")
    #expect(admission.liveBytes == pageSize)
    #expect(heap.buffers.count == 1)
    #expect(try heap.info(of: vmo) == key)
    try await heap.delete(key, vmo)
    #expect(diary.entries == [])
  }

  // An index narrowed to 32 bits would mix them up.
  @Test func `all 64 bits of a key count`() throws {
    let heap = MemfdHeap()
    let id = UInt64.random(in: 1 ... .max)
    let keys = [0, 1 << 32, 1 << 63].map { BufferKey(bufferCollectionID: id, bufferIndex: $0) }
    let (one, two, three) = (
      ReturnedVMO(try heap.allocate(keys[0])), ReturnedVMO(try heap.allocate(keys[1])),
      ReturnedVMO(try heap.allocate(keys[2]))
    )
    #expect(heap.buffers.count == 3)
    for (key, box) in zip(keys, [one, two, three]) {
      let vmo = try box.taken()
      #expect(try heap.info(of: vmo) == key)
    }
  }

  @Test func `a key is taken in its own heap alone`() throws {
    let (one, other) = (MemfdHeap(), MemfdHeap())
    let key = BufferKey.fresh()
    let first = try one.allocate(key)
    let second = try other.allocate(key)
    #expect(first.identity != second.identity)
    let error = refusal { () throws(HeapError) in try other.info(of: first) }
    #expect(error?.code == .notFound)
  }

  @Test func `settings are not looked at`() throws {
    var settings = SingleBufferSettings.contiguous
    settings.bufferSettings?.isSecure = true
    settings.bufferSettings?.sizeBytes = .max
    let key = BufferKey.fresh()
    let vmo = try MemfdHeap().allocateVmo(
      size: pageSize, settings: settings, bufferCollectionID: key.bufferCollectionID,
      bufferIndex: key.bufferIndex)
    #expect(vmo.byteCount == pageSize)
  }

  /// In a process of its own: others fork, and hold what is closed here for a moment.
  @Test func `what was closed outside of any vmo is free for the next request`() async {
    await #expect(processExitsWith: .success) {
      for reclaimer in try [Reclaimer.shared, Reclaimer(inCallersLoop: Reclaimer.Recheck())] {
        let admission = Admission(budget: 2 * pageSize, on: .of(available: 100))
        let heap = MemfdHeap(admission: admission, reclaimer: reclaimer)
        for _ in 0..<20 {
          let vmo = try heap.allocate(.fresh(), size: 2 * pageSize)
          _ = vmo.releaseDescriptor()
        }
      }
    }
  }

  @Test func `the budget is given back after the reclaim`() async throws {
    let admission = Admission(budget: 2 * pageSize, on: .of(available: 100))
    let heap = MemfdHeap(admission: admission)
    let key = BufferKey.fresh()
    let vmo = try heap.allocate(key, size: 2 * pageSize)
    #expect(admission.liveBytes == 2 * pageSize)
    let error = refusal { () throws(HeapError) in try heap.allocate(.fresh()) }
    #expect(error?.code == .noMemory)
    #expect(heap.buffers.count == 1)
    try await heap.delete(key, vmo)
    #expect(admission.liveBytes == 0)
    try await heap.delete(key, heap.allocate(key, size: 2 * pageSize))
  }
}
