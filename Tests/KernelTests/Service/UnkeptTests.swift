import Glibc
import HeapClient
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// A server ends, and nobody kept the parents.
@Suite(.serialized) struct UnkeptTests {
  private static let collection: UInt64 = 0xbee0_0000_0000_0005

  enum End: CaseIterable { case killed, stopped }

  @Test(arguments: HeapUnderTest.all(), End.allCases)
  func `what a client holds outlives the server, and ends with the client's last handle`(
    _ subject: HeapUnderTest, _ end: End
  ) throws {
    let daemon = try Daemon(heap: [subject.name])
    let vmo: VMO
    let mapping: Mapping<ReadWrite>?
    do {
      let heap = try RemoteHeap(socket: daemon.socket)
      vmo = try heap.allocateVmo(
        size: 2 * pageSize, settings: subject.settings, bufferCollectionID: Self.collection,
        bufferIndex: 1)
      mapping = subject.kind == .opaque ? nil : try vmo.map()
      try mapping?.poke(0x11, at: 4096)
      switch end {
      case .killed: daemon.kill()
      case .stopped: #expect(daemon.stop() == 0, "\(daemon.log)")
      }
    }
    let size = try VMO(adopting: try vmo.withDescriptor(Self.duplicate)).byteCount
    #expect(size == 2 * pageSize)
    let byte = try mapping?.peek(at: 4096)
    #expect(byte ?? 0x11 == 0x11)
    try mapping?.poke(0x22, at: 0)
    if subject.kind != .opaque {
      let byte = try vmo.peek(at: 0)
      #expect(byte == 0x22)
    }
    let name = "/memfd:lh:\(String(Self.collection, radix: 36)).1 (deleted)"
    if subject.isCounted {
      #expect(KernelBuffers.of(collection: Self.collection)?.count ?? 1 == 1)
    } else {
      #expect(try Self.isOpenHere(name))
    }
    _ = consume vmo
    _ = consume mapping
    #expect(eventually { KernelBuffers.of(collection: Self.collection)?.isEmpty != false })
    #expect(try !Self.isOpenHere(name))
  }

  private static func duplicate(_ number: CInt) throws(HeapError) -> OwnedFD {
    OwnedFD(adopting: fcntl(number, F_DUPFD_CLOEXEC, 0))
  }

  private static func isOpenHere(_ name: String) throws -> Bool {
    try SmallFile.entries(of: "/proc/self/fd").contains { number in
      (try? SmallFile.link("/proc/self/fd/\(number)")) == name
    }
  }

  @Test(arguments: [HeapUnderTest.memfd, .opaque])
  func `the next server does not know the buffer, and gives its name to another`(
    _ subject: HeapUnderTest
  ) async throws {
    let daemon = try Daemon(heap: [subject.name])
    let first = try RemoteHeap(socket: daemon.socket)
    let vmo = try await first.allocateVmo(
      size: pageSize, settings: subject.settings, bufferCollectionID: Self.collection,
      bufferIndex: 1)
    daemon.kill()
    let next = try Daemon(heap: [subject.name], folder: daemon.folder)
    let heap = try RemoteHeap(socket: next.socket)
    let refusal = #expect(throws: HeapError.self) { _ = try heap.info(of: vmo) }
    #expect(refusal?.code == .notFound)
    let new = try await heap.allocateVmo(
      size: pageSize, settings: subject.settings, bufferCollectionID: Self.collection,
      bufferIndex: 1)
    let key = try await heap.info(of: new)
    #expect(key == BufferKey(bufferCollectionID: Self.collection, bufferIndex: 1))
    try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: 1, vmo: new)
    #expect(try eventually { try ServerStatus(of: heap).quota.buffers == 0 })
    _ = consume vmo
  }
}
