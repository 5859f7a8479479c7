import HeapClient
import HeapServer
import HeapService
import LinuxHeaps
import Logging
import ServiceLifecycle
import Testing

/// A server in this process, among the services of a group.
@Suite struct GracefulShutdownTests {
  @Test func `a graceful shutdown of its group ends it, and leaves its buffers`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/heap.sock"
    let server = try HeapServer(
      sockets: HeapServer.Sockets(
        heap: try Listener(at: path), observer: try Listener(at: path + ".observer")),
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, heapName: "memfd"
    ) { MemfdHeap(reclaimer: $0) }
    let group = ServiceGroup(
      services: [HeapService(server)],
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    async let run: Void = group.run()
    let heap = try RemoteHeap(socket: path)
    let vmo = try heap.allocateVmo(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 0)
    await group.triggerGracefulShutdown()
    try await run
    #expect(throws: HeapError.self) {
      _ = try heap.allocateVmo(
        size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 1)
    }
    let mapping = try vmo.mapReadOnly()
    let access = try mapping.readAccess()
    let bytes = access.bytes
    #expect(unsafe bytes.unsafeLoad(as: UInt8.self) == 0)
  }
}
