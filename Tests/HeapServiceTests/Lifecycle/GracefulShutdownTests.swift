import HeapClient
import HeapServer
import HeapService
import LinuxHeaps
import Logging
import ServiceLifecycle
import TestSupport
import Testing

/// A server in this process, among the services of a group.
@Suite struct GracefulShutdownTests {
  private static let collection: UInt64 = 0xbee8

  @Test func `a graceful shutdown of its group ends it, and leaves its buffers`() async throws {
    let threads = try Self.workers()
    let folder = try TemporaryFolder()
    let path = folder.path + "/heap.sock"
    let group = ServiceGroup(
      services: [HeapService(try Self.server(at: path))],
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let run = Task { try await group.run() }
    let heap = try RemoteHeap(socket: path)
    let vmo = try await heap.allocateVmo(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: Self.collection,
      bufferIndex: 0)
    // What needs another thread.
    #expect(try heap.status().contains("\"schemaVersion\":1"))
    #expect(try Self.openBuffers() == 2)
    await group.triggerGracefulShutdown()
    try await run.value
    #expect(throws: HeapError.self) {
      _ = try heap.allocateVmo(
        size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: Self.collection,
        bufferIndex: 1)
    }
    let mapping = try vmo.mapReadOnly()
    let access = try mapping.readAccess()
    let bytes = access.bytes
    #expect(unsafe bytes.unsafeLoad(as: UInt8.self) == 0)
    // The program that the server was in goes on without any of it.
    #expect(try eventually { try Self.openBuffers() == 1 })
    #expect(try eventually { try Self.workers() <= threads })
  }

  @Test func `so does its cancellation`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/heap.sock"
    let service = HeapService(try Self.server(at: path))
    let hasEnded = Guarded(false)
    let run = Task {
      try await service.run()
      hasEnded.withLock { $0 = true }
    }
    let heap = try RemoteHeap(socket: path)
    run.cancel()
    #expect(eventually { hasEnded.withLock { $0 } })
    #expect(throws: HeapError.self) { _ = try heap.status() }
  }

  private static func server(at path: String) throws -> HeapServer {
    try HeapServer(
      sockets: HeapServer.Sockets(
        heap: try Listener(at: path), observer: try Listener(at: path + ".observer")),
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, heap: MemfdHeap(),
      heapName: "memfd")
  }

  /// Descriptors of its first buffer in this process.
  private static func openBuffers() throws -> Int {
    let name = "/memfd:\(BufferKey(bufferCollectionID: Self.collection, bufferIndex: 0)) (deleted)"
    return try SmallFile.entries(of: "/proc/self/fd").count { number in
      (try? SmallFile.link("/proc/self/fd/\(number)")) == name
    }
  }

  private static func workers() throws -> Int {
    try SmallFile.entries(of: "/proc/self/task").count { thread in
      (try? SmallFile.read("/proc/self/task/\(thread)/comm")) == "heap-worker\n"
    }
  }
}
