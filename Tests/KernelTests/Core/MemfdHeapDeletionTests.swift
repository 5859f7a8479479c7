import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct MemfdHeapDeletionTests {
  @Test func `deletion is a fence`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    let diary = Diary()
    let cleanup: [CleanupAction] = [
      // The parent is still open, and alone.
      { diary.write("cleanup, \(openDescriptorCount(of: key)) open") }
    ]
    let vmo = try heap.allocate(key, cleanup: cleanup)
    #expect(openDescriptorCount(of: key) == 2)
    try await heap.delete(key, vmo)
    #expect(diary.entries == ["cleanup, 1 open"])
    #expect(openDescriptorCount(of: key) == 0)
    #expect(heap.buffers.count == 0)
  }

  @Test func `a key can be used again after the fence`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    for size in [1, 2, 3].map({ $0 * pageSize }) {
      let vmo = try heap.allocate(key, size: size)
      #expect(vmo.byteCount == size)
      try await heap.delete(key, vmo)
    }
    #expect(heap.buffers.count == 0)
  }

  @Test func `any handle of the buffer will do`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    let vmo = try heap.allocate(key, size: 2 * pageSize)
    let slice = try vmo.slice(offset: pageSize, byteCount: pageSize)
    close(vmo)
    try await heap.delete(key, slice)
    #expect(heap.buffers.count == 0)
  }

  @Test func `deletion waits for handles that are left against the contract`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    let diary = Diary()
    let vmo = try heap.allocate(key, cleanup: [{ diary.write("cleanup") }])
    let left = try vmo.duplicate()
    let handle = ReturnedVMO(vmo)
    let deletion = Task {
      try await heap.deleteVmo(
        bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex,
        vmo: handle.take()!)
      diary.write("deleted")
    }
    let hasBegun = try await eventuallyHolds {
      refusal { () throws(HeapError) in try heap.info(of: left) }?.code == .notFound
    }
    #expect(hasBegun)
    // Its (collection, index) is neither free nor to be deleted twice.
    let again = refusal { () throws(HeapError) in try heap.allocate(key) }
    #expect(again?.code == .alreadyExists)
    let copy = try left.duplicate()
    let second = try await heap.refusalToDelete(key, copy)
    #expect(second?.code == .notFound)
    #expect(second?.returnedVMO?.drop() == true)
    deletion.cancel()
    // The reclaimer has looked at both when the other is gone.
    let other = BufferKey.fresh()
    try await heap.delete(other, heap.allocate(other))
    #expect(diary.entries == [])
    #expect(heap.buffers.count == 1)
    close(left)
    #expect(try await eventuallyHolds { diary.entries == ["cleanup", "deleted"] })
    #expect(heap.buffers.count == 0)
  }

  @Test func `other calls go on during a deletion`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    let mapping: Mapping<ReadWrite>
    let handle: ReturnedVMO
    do {
      let vmo = try heap.allocate(key)
      mapping = try vmo.map()
      handle = ReturnedVMO(vmo)
    }
    let deletion = Task { try await heap.delete(key, handle.take()!) }
    for index: UInt64 in 1...100 {
      let other = BufferKey(bufferCollectionID: key.bufferCollectionID, bufferIndex: index)
      try await heap.delete(other, heap.allocate(other))
    }
    try mapping.poke(1, at: 0)
    _ = consume mapping
    try await deletion.value
    #expect(heap.buffers.count == 0)
  }

  @Test func `another buffer's vmo is refused and given back`() async throws {
    let heap = MemfdHeap()
    let keys = [BufferKey.fresh(0), .fresh(1)]
    let diary = Diary()
    let one = try heap.allocate(keys[0], cleanup: [{ diary.write("one") }])
    let other = try heap.allocate(keys[1], cleanup: [{ diary.write("other") }])
    let identity = other.identity
    let error = try await heap.refusalToDelete(keys[0], other)
    #expect(error?.code == .badHandle)
    let handle = try #require(error?.returnedVMO)
    let returned = try handle.taken()
    #expect(!handle.drop())
    #expect(returned.identity == identity)
    // Neither was touched.
    #expect(try heap.info(of: one) == keys[0])
    #expect(try heap.info(of: returned) == keys[1])
    #expect(heap.buffers.count == 2)
    #expect(diary.entries == [])
    try await heap.delete(keys[1], returned)
    #expect(diary.entries == ["other"])
    try await heap.delete(keys[0], one)
    #expect(diary.entries == ["other", "one"])
  }

  @Test func `a foreign vmo is refused`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    let vmo = try heap.allocate(key)
    let foreign = try VMO(adopting: Memfd.create("elsewhere", size: pageSize))
    let error = try await heap.refusalToDelete(key, foreign)
    #expect(error?.code == .badHandle)
    #expect(try heap.info(of: vmo) == key)
  }

  @Test func `an unknown key is refused and its vmo given back`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh(1)
    let vmo = try heap.allocate(key)
    let unknown = [
      BufferKey(bufferCollectionID: key.bufferCollectionID, bufferIndex: 1 << 32 | 1),
      BufferKey(bufferCollectionID: key.bufferCollectionID &+ 1, bufferIndex: 1),
    ]
    for unknown in unknown {
      let error = try await heap.refusalToDelete(unknown, vmo.duplicate())
      #expect(error?.code == .notFound)
      let returned = try #require(error?.returnedVMO).taken()
      #expect(try heap.info(of: returned) == key)
    }
    #expect(heap.buffers.count == 1)
  }

  @Test func `a vmo that comes back and is not taken is closed`() async throws {
    let heap = MemfdHeap()
    let vmo = try heap.allocate(.fresh())
    do {
      let error = try await heap.refusalToDelete(.fresh(), vmo)
      #expect(error?.code == .notFound)
      #expect(heap.buffers.count == 1)
    }
    #expect(try await eventuallyHolds { heap.buffers.count == 0 })
  }
}
