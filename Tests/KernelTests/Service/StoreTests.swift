import Glibc
import HeapClient
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// A store that does not do as one would like. The manager tells nobody what it keeps: of a dma-buf the
/// kernel's count does.
@Suite(.serialized) struct StoreTests {
  private static let collection: UInt64 = 0xbee0_0000_0000_0003

  /// Bound to let go late, as systemd is, which closes on a thread of its own.
  static let lateness: [UInt32] = [0, 40]

  private static func allocate(
    _ heap: RemoteHeap, _ subject: HeapUnderTest, index: UInt64
  ) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: pageSize, settings: subject.settings, bufferCollectionID: collection,
      bufferIndex: index)
  }

  private static func expectLive(
    _ indices: [UInt64], _ heap: RemoteHeap, _ subject: HeapUnderTest
  ) throws {
    // Longer than the service waits between two looks, where it looks.
    usleep(subject.isCounted ? 300_000 : 20_000)
    #expect(try ServerStatus(of: heap).buffers.map(\.index) == indices)
  }

  private static func expectNothingLeft(_ manager: StandInManager, _ heap: RemoteHeap) {
    #expect(eventually { (try? ServerStatus(of: heap).quota.buffers) == 0 }, "\(manager.logText)")
    #expect(eventually { manager.store.entries.isEmpty })
    #expect(eventually { KernelBuffers.of(collection: collection)?.isEmpty != false })
  }

  @Test(arguments: HeapUnderTest.kinds, Self.lateness)
  func `a buffer that the store does not take lives as long as its holders`(
    _ subject: HeapUnderTest, _ lateness: UInt32
  ) async throws {
    let manager = try StandInManager(
      heap: subject.name, .init(capacity: 0, lateness: lateness))
    try manager.start()
    let heap = try manager.connect()
    let vmo = try Self.allocate(heap, subject, index: 1)
    let other = HeldVMO(try Self.allocate(heap, subject, index: 2))
    #expect(eventually { manager.store.offers == 2 })
    try Self.expectLive([1, 2], heap, subject)
    try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: 1, vmo: vmo)
    try Self.expectLive([2], heap, subject)
    _ = other.take()
    Self.expectNothingLeft(manager, heap)
  }

  @Test(arguments: HeapUnderTest.kinds, Self.lateness)
  func `a full store keeps what it has, and the server the rest`(
    _ subject: HeapUnderTest, _ lateness: UInt32
  ) async throws {
    let manager = try StandInManager(
      heap: subject.name, .init(capacity: 1, lateness: lateness))
    try manager.start()
    var heap = try manager.connect()
    let kept = try Self.allocate(heap, subject, index: 1)
    let other = HeldVMO(try Self.allocate(heap, subject, index: 2))
    try Self.expectLive([1, 2], heap, subject)
    manager.kill()
    try manager.start()
    heap = try manager.connect()
    try Self.expectLive([1], heap, subject)
    // It is a buffer of nobody now, and its name is free.
    let refusal = #expect(throws: HeapError.self) { _ = try other.info(from: heap) }
    #expect(refusal?.code == .notFound)
    let new = try Self.allocate(heap, subject, index: 2)
    try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: 1, vmo: kept)
    _ = other.take()
    _ = consume new
    Self.expectNothingLeft(manager, heap)
  }

  @Test(arguments: HeapUnderTest.kinds, Self.lateness)
  func `a deletion is answered when the store has let go`(
    _ subject: HeapUnderTest, _ lateness: UInt32
  ) async throws {
    let manager = try StandInManager(heap: subject.name, .init(lateness: lateness))
    try manager.start()
    let heap = try manager.connect()
    for index in 0..<5 as Range<UInt64> {
      let vmo = try Self.allocate(heap, subject, index: index)
      try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: index, vmo: vmo)
      #expect(manager.store.entries.isEmpty)
      #expect(KernelBuffers.of(collection: Self.collection)?.isEmpty != false)
    }
    Self.expectNothingLeft(manager, heap)
  }

  @Test(arguments: HeapUnderTest.kinds, Self.lateness)
  func `a store that loses what it kept takes no buffer from its holders`(
    _ subject: HeapUnderTest, _ lateness: UInt32
  ) async throws {
    let manager = try StandInManager(heap: subject.name, .init(lateness: lateness))
    try manager.start()
    let heap = try manager.connect()
    let vmo = try Self.allocate(heap, subject, index: 1)
    let other = HeldVMO(try Self.allocate(heap, subject, index: 2))
    #expect(eventually { manager.store.entries.count == 2 })
    manager.store.lose()
    try Self.expectLive([1, 2], heap, subject)
    try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: 1, vmo: vmo)
    try Self.expectLive([2], heap, subject)
    _ = other.take()
    Self.expectNothingLeft(manager, heap)
  }

  @Test(arguments: HeapUnderTest.kinds)
  func `what was kept is let go of, also where nothing more is kept`(
    _ subject: HeapUnderTest
  ) async throws {
    let manager = try StandInManager(heap: subject.name)
    try manager.start()
    var heap = try manager.connect()
    let old = try Self.allocate(heap, subject, index: 1)
    manager.kill()
    // E.g. FileDescriptorStoreMax=0 now.
    try manager.start(.init(offersStore: false))
    heap = try manager.connect()
    try Self.expectLive([1], heap, subject)
    try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: 1, vmo: old)
    Self.expectNothingLeft(manager, heap)
  }

  /// Heaps whose buffers a pool keeps.
  private static let pooled = HeapUnderTest.inStorms.filter { $0.kind == .dmaHeap }

  private static func expectPooled(_ count: Int, _ heap: RemoteHeap) throws {
    let isSo = try eventually {
      let pool = try ServerStatus(of: heap).pool
      return pool?.ready == count && pool?.bytes == UInt64(count) * pageSize
    }
    #expect(isSo, "\((try? heap.status()) ?? "")")
  }

  private static func end(_ index: UInt64, _ vmo: consuming VMO, _ heap: RemoteHeap) async throws {
    try await heap.deleteVmo(bufferCollectionID: collection, bufferIndex: index, vmo: vmo)
  }

  @Test(
    .enabled(if: !Self.pooled.isEmpty, "needs /dev/dma_heap"), arguments: Self.pooled,
    Self.lateness)
  func `the store has nothing of a pool, and what it has goes to no other after a restart`(
    _ subject: HeapUnderTest, _ lateness: UInt32
  ) async throws {
    let manager = try StandInManager(
      heap: subject.name, .init(lateness: lateness),
      configuration: "pool-bytes = 16M\npool-learns = off\npool-idle-seconds = 600\n")
    try manager.start()
    let before = try manager.connect()
    let first = try Self.allocate(before, subject, index: 1)
    let identity = first.identity
    try await Self.end(1, first, before)
    try Self.expectPooled(1, before)
    // Its memory again, which the store has under its new name alone.
    let kept = try Self.allocate(before, subject, index: 2)
    #expect(kept.identity == identity)
    try kept.poke(0x5a, at: 1)
    let other = try Self.allocate(before, subject, index: 3)
    let otherIdentity = other.identity
    try await Self.end(3, other, before)
    try Self.expectPooled(1, before)
    let names = manager.store.entries.map(\.name)
    #expect(names.count == 1)

    manager.kill()
    #expect(manager.store.entries.map(\.name) == names)
    let list = "/sys/kernel/debug/dma_buf/bufinfo"
    #expect(eventually { (try? SmallFile.read(list, limit: 1 << 20))?.contains("lh:pool") != true })
    try manager.start()
    let heap = try manager.connect()
    try Self.expectLive([2], heap, subject)
    try Self.expectPooled(0, heap)
    #expect(try kept.peek(at: 1) == 0x5a)
    let new = try Self.allocate(heap, subject, index: 4)
    let newIdentity = new.identity
    #expect(newIdentity != identity && newIdentity != otherIdentity)
    #expect(try new.peek(at: 1) == 0)
    // What the server before made goes back to the kernel.
    try await Self.end(2, kept, heap)
    try await Self.end(4, new, heap)
    try Self.expectPooled(1, heap)
    let last = try Self.allocate(heap, subject, index: 5)
    #expect(last.identity == newIdentity)
    _ = consume last
    Self.expectNothingLeft(manager, heap)
  }
}
