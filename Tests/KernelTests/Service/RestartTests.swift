import Glibc
import HeapClient
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// A server ends, and the next one goes on.
@Suite(.serialized) struct RestartTests {
  private static let collection: UInt64 = 0xbee0_0000_0000_0001

  private static func allocate(
    _ heap: RemoteHeap, _ subject: HeapUnderTest, index: UInt64, size: UInt64 = 2 * pageSize
  ) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: size, settings: subject.settings, bufferCollectionID: collection, bufferIndex: index)
  }

  private static func expectNothingLeft(_ manager: StandInManager, _ heap: RemoteHeap) {
    #expect(eventually { (try? ServerStatus(of: heap).quota.buffers) == 0 }, "\(manager.logText)")
    #expect(eventually { manager.store.entries.isEmpty })
    let files = manager.process.flatMap { try? ProcessFiles.listAtRest(of: $0) } ?? []
    #expect(!files.contains { $0.contains("/memfd:lh") || $0.contains("/dmabuf") }, "\(files)")
    #expect(eventually { KernelBuffers.of(collection: collection)?.isEmpty != false })
  }

  enum End: CaseIterable {
    case killed, stopped

    func end(_ manager: StandInManager) {
      switch self {
      case .killed: manager.kill()
      case .stopped: #expect(manager.stop() == 0, "\(manager.logText)")
      }
    }
  }

  @Test(arguments: HeapUnderTest.all(), End.allCases)
  func `buffers held across a restart keep their bytes and names, and can be deleted`(
    _ subject: HeapUnderTest, _ end: End
  ) async throws {
    let manager = try StandInManager(heap: subject.name)
    try manager.start()
    var heap = try manager.connect()
    let vmo = try Self.allocate(heap, subject, index: 7)
    let isMappable = subject.kind != .opaque
    if isMappable { try vmo.poke(0x5a, at: 4097) }
    let status = try ServerStatus(of: heap)

    end.end(manager)
    try manager.start()
    heap = try manager.connect()

    let byte = isMappable ? try vmo.peek(at: 4097) : 0x5a
    #expect(byte == 0x5a)
    let key = try await heap.info(of: vmo)
    #expect(key == BufferKey(bufferCollectionID: Self.collection, bufferIndex: 7))
    let found = try ServerStatus(of: heap)
    #expect(found.quota.buffers == 1)
    #expect(found.quota.bytes == status.quota.bytes)
    #expect(found.users.map(\.quota.bytes) == status.users.map(\.quota.bytes))
    #expect(found.buffers.map(\.heap) == status.buffers.map(\.heap))
    #expect(found.buffers.map(\.user) == [geteuid()])
    #expect(found.orphans == 1)
    #expect(throws: HeapError.self) { _ = try Self.allocate(heap, subject, index: 7) }

    try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: 7, vmo: vmo)
    // It was answered, so all of the buffer is gone, the store's copy too.
    #expect(KernelBuffers.of(collection: Self.collection)?.isEmpty != false)
    Self.expectNothingLeft(manager, heap)
  }

  @Test(arguments: HeapUnderTest.all())
  func `a buffer whose last holder left while no server ran is taken back at the start`(
    _ subject: HeapUnderTest
  ) throws {
    let manager = try StandInManager(heap: subject.name)
    try manager.start()
    let first = try manager.connect()
    let lost = try Self.allocate(first, subject, index: 1)
    let kept = try Self.allocate(first, subject, index: 2)
    manager.kill()
    #expect(manager.store.entries.count == 2)
    _ = consume lost

    try manager.start()
    let heap = try manager.connect()
    #expect(eventually { manager.store.entries.count == 1 }, "\(manager.logText)")
    #expect(eventually { (try? ServerStatus(of: heap).buffers.map(\.index)) == [2] })
    // Its name can be used again.
    _ = try Self.allocate(heap, subject, index: 1)
    _ = consume kept
    Self.expectNothingLeft(manager, heap)
  }

  @Test(arguments: HeapUnderTest.inStorms)
  func `a buffer that only a mapping holds outlives the server`(_ subject: HeapUnderTest) throws {
    let manager = try StandInManager(heap: subject.name)
    try manager.start()
    var mapping: Mapping<ReadWrite>? = try Self.allocate(
      try manager.connect(), subject, index: 1
    ).map()
    manager.kill()
    try mapping?.poke(0x77, at: 100)
    try manager.start()
    let heap = try manager.connect()
    usleep(subject.isCounted ? 300_000 : 20_000)
    #expect(try eventually { try ServerStatus(of: heap).quota.buffers == 1 })
    let byte = try mapping?.peek(at: 100)
    #expect(byte == 0x77)
    mapping = nil
    Self.expectNothingLeft(manager, heap)
  }

  @Test(arguments: HeapUnderTest.all())
  func `quotas count the buffers of the server before`(_ subject: HeapUnderTest) throws {
    let manager = try StandInManager(heap: subject.name, configuration: "user-buffers = 3")
    try manager.start()
    var heap = try manager.connect()
    var held = [HeldVMO(try Self.allocate(heap, subject, index: 1))]
    held.append(HeldVMO(try Self.allocate(heap, subject, index: 2)))
    manager.kill()
    try manager.start()
    heap = try manager.connect()
    held.append(HeldVMO(try Self.allocate(heap, subject, index: 3)))
    let refusal = #expect(throws: HeapError.self) {
      _ = try Self.allocate(heap, subject, index: 4)
    }
    #expect(refusal?.code == .noResources)
    held = []
    Self.expectNothingLeft(manager, heap)
    _ = try Self.allocate(heap, subject, index: 4)
  }

  @Test func `vmos without pages count by number alone, also after a restart`() throws {
    let manager = try StandInManager(
      heap: OpaqueHeap.name, configuration: "user-bytes = 1M\ntotal-bytes = 1M")
    try manager.start()
    var heap = try manager.connect()
    let first = try Self.allocate(heap, .opaque, index: 1, size: 1 << 40)
    #expect(try eventually { try ServerStatus(of: heap).quota.bytes == 0 })
    manager.kill()
    try manager.start()
    heap = try manager.connect()
    #expect(try eventually { try ServerStatus(of: heap).quota.bytes == 0 })
    _ = try Self.allocate(heap, .opaque, index: 2, size: 1 << 40)
    _ = consume first
    Self.expectNothingLeft(manager, heap)
  }
}
