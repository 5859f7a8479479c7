import HeapClient
import LinuxHeaps
import TestSupport
import Testing

private let names = [HeapRole.system, .contiguous].compactMap { role in
  HeapCatalog().heaps().first { $0.role == role && $0.isUsable }?.name
}

/// heapd with a pool, on the heaps of a real kernel.
@Suite(.serialized, .enabled(if: !names.isEmpty, "needs /dev/dma_heap"))
struct ServedPoolTests {
  private static func settings(_ heap: String) -> SingleBufferSettings {
    heap == "system" ? SingleBufferSettings() : .contiguous
  }

  private func allocate(_ heap: RemoteHeap, _ name: String, _ index: UInt64) throws -> VMO {
    try heap.allocateVmo(
      size: 1 << 20, settings: Self.settings(name), bufferCollectionID: 5, bufferIndex: index)
  }

  @Test(arguments: names)
  func `a client has a buffer of its own again, zeroed`(_ name: String) async throws {
    let daemon = try Daemon(
      heap: [name], configuration: "pool-bytes = 16M\npool-learns = off\npool-idle-seconds = 600\n")
    let heap = try RemoteHeap(socket: daemon.socket)
    let first = try allocate(heap, name, 0)
    let identity = first.identity
    // Other than a handle it keeps nobody from having the memory again.
    let path = try first.withDescriptor { number in
      try OddFile.open("/proc/self/fd/\(number)", OddFile.pathOnly)
    }
    try first.withMutableBytes { bytes in
      for index in bytes.indices { bytes[index] = 0x5a }
    }
    try await heap.deleteVmo(bufferCollectionID: 5, bufferIndex: 0, vmo: first)
    #expect(try eventually { try ServerStatus(of: heap).pool?.ready == 1 })
    let second = try allocate(heap, name, 1)
    #expect(second.identity == identity)
    let key = try await heap.info(of: second)
    #expect(key == BufferKey(bufferCollectionID: 5, bufferIndex: 1))
    #expect(try WireClient.observer(daemon).info(path) == nil)
    let isZero = try second.withBytes { bytes in bytes.indices.allSatisfy { bytes[$0] == 0 } }
    #expect(isZero)
    let status = try ServerStatus(of: heap)
    #expect(status.pool?.hits == 1)
    #expect(status.buffers.map(\.index) == [1])
    #expect(status.quota.bytes >= 1 << 20)
    try await heap.deleteVmo(bufferCollectionID: 5, bufferIndex: 1, vmo: second)
    #expect(daemon.stop() == 0)
  }

  @Test(arguments: names)
  func `what one client fills another user never sees`(_ name: String) async throws {
    let daemon = try Daemon(
      heap: [name],
      configuration: "pool-bytes = 16M\npool-learns = off\npool-idle-seconds = 600\n",
      arguments: ["--mode", "0666"], openFolder: true)
    let heap = try RemoteHeap(socket: daemon.socket)
    let first = try allocate(heap, name, 0)
    let inode = first.identity.inode
    try await heap.deleteVmo(bufferCollectionID: 5, bufferIndex: 0, vmo: first)
    #expect(try eventually { try ServerStatus(of: heap).pool?.ready == 1 })
    let contiguous = name == "system" ? [] : ["--contiguous"]
    let run = try Run.heapctl(
      ["alloc", "--socket", daemon.socket, "--size", "1M", "--json"] + contiguous,
      through: ["/usr/bin/setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"])
    #expect(run.status == 0, "\(run.error)")
    let buffer = try #require(try run.json["buffer"] as? [String: Any])
    #expect(try #require(buffer["inode"] as? UInt64) != inode)
    #expect(try ServerStatus(of: heap).pool?.hits == 0)
    #expect(daemon.stop() == 0)
  }
}
