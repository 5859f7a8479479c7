import CLinuxHeaps
import CSyncCalls
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

/// Whether a device that does not share the processor's caches would see what was written shows on no machine whose devices all do.
/// So the calls that see to it are counted.
@Suite(.serialized) struct SyncCallTests {
  private static let reading = bracket(DMA_BUF_SYNC_READ)
  private static let writing = bracket(DMA_BUF_SYNC_READ | DMA_BUF_SYNC_WRITE)

  private static func bracket(_ access: Int32) -> [UInt64] {
    [DMA_BUF_SYNC_START, DMA_BUF_SYNC_END].map { UInt64(access | $0) }
  }

  private static let heaps =
    HeapCatalog().heaps().filter(\.isUsable).map(\.name)
    + (UDMABufHeap.isUsable ? [UDMABufHeap.name] : []) + [MemfdHeap.name]

  private static func heap(_ name: String) -> any Heap {
    switch name {
    case MemfdHeap.name: MemfdHeap()
    case UDMABufHeap.name: UDMABufHeap()
    default: DMABufHeap(heaps: [name])
    }
  }

  private struct Stop: Error {}

  /// Each way to a buffer's bytes, and what the kernel is to hear of it.
  private static let ways: [(calls: [UInt64], way: @Sendable (borrowing VMO) throws -> Void)] = [
    (writing, { vmo in try vmo.withMutableBytes { bytes in bytes[0] = 1 } }),
    (reading, { vmo in _ = try vmo.withBytes { bytes in bytes[0] } }),
    (reading, { vmo in _ = try vmo.copyBytes(0..<1) }),
    (
      reading,
      { vmo in _ = try vmo.slice(offset: pageSize, byteCount: pageSize).copyBytes(0..<1) }
    ),
    (writing, { vmo in try vmo.map().withMutableBytes { bytes in bytes[0] = 2 } }),
    (reading + writing, { vmo in try endByName(vmo.map()) }),
    (writing, { vmo in try endWithScope(vmo.map()) }),
    (reading, { vmo in try? vmo.withBytes { _ in throw Stop() } }),
    (writing, { vmo in try? vmo.withMutableBytes { _ in throw Stop() } }),
    ([], { vmo in try vmo.map().unmap() }),
  ]

  private static func endByName(_ mapping: consuming Mapping<ReadWrite>) throws {
    try mapping.readAccess().end()
    try mapping.writeAccess().end()
  }

  private static func endWithScope(_ mapping: consuming Mapping<ReadWrite>) throws {
    var access = try mapping.writeAccess()
    var bytes = access.mutableBytes
    bytes.storeBytes(of: 3, as: UInt8.self)
  }

  @Test(arguments: heaps) func `each access is between two calls`(_ name: String) throws {
    let held = HeldVMO(try Self.heap(name).allocate(byteCount: 2 * pageSize))
    let calls = try Self.calls {
      guard let vmo = held.take() else { return }
      for (_, way) in Self.ways { try way(vmo) }
    }
    #expect(calls == (name == MemfdHeap.name ? [] : Self.ways.flatMap(\.calls)))
  }

  @Test func `a call is counted, whatever its file`() throws {
    let file = try OddFile.memfd()
    let calls = try Self.calls {
      for flags in [5, 6] as [UInt64] { _ = CLinuxHeaps_dma_buf_sync(file.fd.rawValue, flags) }
    }
    #expect(calls == [5, 6])
  }

  /// The flags of each `DMA_BUF_IOCTL_SYNC` that `body` makes, on a thread of its own.
  private static func calls(_ body: @escaping @Sendable () throws -> Void) throws -> [UInt64] {
    let start = Guarded<Result<CInt, Errno>?>(nil)
    let failure = Guarded<(any Error)?>(nil)
    try KernelThread.start("sync-calls") {
      let listener = Result { () throws(Errno) in try call { CSyncCalls_listen() } }
      start.withLock { $0 = listener }
      guard case .success = listener else { return }
      do { try body() } catch { failure.withLock { $0 = error } }
    }
    #expect(eventually { start.withLock { $0 != nil } })
    let listener = SharedFD(OwnedFD(adopting: try #require(start.withLock { $0 }).get()))
    var calls: [UInt64] = []
    var flags: UInt64 = 0
    while try call({ unsafe CSyncCalls_next(listener.fd.rawValue, &flags) }) == 1 {
      calls.append(flags)
    }
    if let error = failure.withLock({ $0 }) { throw error }
    return calls
  }
}
