import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct MemfdHeapCleanupTests {
  @Test func `cleanup runs once, in order, without a deletion`() async throws {
    let heap = MemfdHeap()
    let diary = Diary()
    let cleanup: [CleanupAction] = ["a", "b", "c"].map { entry in { diary.write(entry) } }
    let vmo = try heap.allocate(.fresh(), size: 2 * pageSize, cleanup: cleanup)
    let slice = try vmo.slice(offset: pageSize, byteCount: pageSize)
    let mapping = try slice.map()
    close(vmo)
    close(slice)
    #expect(diary.entries == [])
    _ = consume mapping
    #expect(try await eventuallyHolds { heap.buffers.count == 0 })
    // A second run would be seen by the time that the reclaimer has served another buffer.
    let other = BufferKey.fresh()
    try await heap.delete(other, heap.allocate(other))
    #expect(diary.entries == ["a", "b", "c"])
  }

  @Test func `a key can be used again after a reclaim`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    let diary = Diary()
    for round in 1...3 {
      let vmo = try heap.allocate(key, cleanup: [{ diary.write("\(round)") }])
      #expect(try heap.info(of: vmo) == key)
      close(vmo)
      #expect(try await eventuallyHolds { heap.buffers.count == 0 })
    }
    #expect(diary.entries == ["1", "2", "3"])
  }

  @Test func `dropping the heap cleans up nothing`() async throws {
    let reclaimer = Reclaimer()
    let diary = Diary()
    let vmo: VMO
    do {
      let heap = MemfdHeap(reclaimer: reclaimer)
      vmo = try heap.allocate(.fresh(), cleanup: [{ diary.write("cleanup") }])
    }
    // The reclaimer has looked at both when the other is gone.
    let heap = MemfdHeap(reclaimer: reclaimer)
    let other = BufferKey.fresh()
    try await heap.delete(other, heap.allocate(other))
    #expect(diary.entries == [])
    #expect(reclaimer.counters.live == 1)
    let mapping = try vmo.map()
    try mapping.poke(1, at: 0)
    close(vmo)
    _ = consume mapping
    #expect(try await eventuallyHolds { reclaimer.counters.reclaimed == 2 })
    #expect(diary.entries == ["cleanup"])
  }

  @Test func `a heap and its reclaimer may both go first`() async throws {
    let diary = Diary()
    let key = BufferKey.fresh()
    let vmo = try MemfdHeap(reclaimer: Reclaimer())
      .allocate(key, cleanup: [{ diary.write("cleanup") }])
    let copy = try vmo.duplicate()
    close(vmo)
    #expect(diary.entries == [])
    close(copy)
    #expect(try await eventuallyHolds { diary.entries == ["cleanup"] })
    #expect(try await eventuallyHolds { openDescriptorCount(of: key) == 0 })
  }

  @Test func `cleanup may use the heap`() async throws {
    let heap = MemfdHeap()
    let diary = Diary()
    let (key, other) = (BufferKey.fresh(), BufferKey.fresh())
    let vmo = try heap.allocate(
      key,
      cleanup: [
        {
          // Still taken: the buffer is not gone.
          let error = refusal { () throws(HeapError) in try heap.allocate(key) }
          diary.write("\(error?.code, default: "none")")
          diary.write("\((try? heap.allocate(other).byteCount) ?? 0)")
        }
      ])
    try await heap.delete(key, vmo)
    #expect(diary.entries == ["ALREADY_EXISTS", "\(pageSize)"])
    #expect(try await eventuallyHolds { heap.buffers.count == 0 })
  }
}
