import Foundation
import Glibc
import HeapClient
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// A server without privileges takes over what one before it left.
@Suite(.serialized) struct OrdinaryUserTests {
  private static let collection: UInt64 = 0xbee0_0000_0000_0006
  private static let nobody: UInt32 = 65_534

  @Test(
    .enabled(if: geteuid() == 0, "needs root, to run heapd as another user"),
    arguments: [HeapUnderTest.memfd, .opaque])
  func `buffers outlive a server of an ordinary user`(_ subject: HeapUnderTest) async throws {
    let manager = try StandInManager(heap: subject.name)
    // From a copy, because that user need not be able to reach this folder.
    let copy = manager.folder + "/heapd"
    try FileManager.default.copyItem(atPath: manager.program, toPath: copy)
    for path in [manager.folder, copy] { unsafe chmod(path, 0o755) }
    manager.program = copy
    manager.prefix = [
      "/usr/bin/setpriv", "--reuid=\(Self.nobody)", "--regid=\(Self.nobody)", "--clear-groups",
    ]
    try manager.start()
    var heap = try manager.connect()
    let held = try (0..<3 as Range<UInt64>).map { index in
      HeldVMO(try Self.allocate(heap, subject, index: index))
    }
    let mode: mode_t = subject.kind == .opaque ? 0o200 : 0o600
    for file in manager.store.entries { #expect(Self.mode(file) == mode) }
    for _ in 0..<3 {
      manager.kill()
      try manager.start()
      heap = try manager.connect()
      // While it took over it had to open them to readers.
      for file in manager.store.entries {
        #expect(eventually { Self.mode(file) == mode })
      }
      for (index, vmo) in held.enumerated() {
        #expect(
          try vmo.info(from: heap)
            == BufferKey(bufferCollectionID: Self.collection, bufferIndex: UInt64(index)))
      }
    }
    guard let vmo = held[1].take() else { return }
    try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: 1, vmo: vmo)
    #expect(try ServerStatus(of: heap).buffers.map(\.index) == [0, 2])
    manager.kill()
    _ = held[0].take()
    try manager.start()
    heap = try manager.connect()
    #expect(try eventually { try ServerStatus(of: heap).buffers.map(\.index) == [2] })
    _ = held[2].take()
    #expect(try eventually { try ServerStatus(of: heap).quota.buffers == 0 })
    #expect(eventually { manager.store.entries.isEmpty })
    #expect(!manager.logText.contains(" error "), "\(manager.logText)")
  }

  private static func allocate(
    _ heap: RemoteHeap, _ subject: HeapUnderTest, index: UInt64
  ) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: pageSize, settings: subject.settings, bufferCollectionID: collection,
      bufferIndex: index)
  }

  private static func mode(_ entry: DescriptorStore.Entry) -> mode_t {
    var status = stat()
    unsafe fstat(entry.file.fd.rawValue, &status)
    return status.st_mode & 0o777
  }
}
