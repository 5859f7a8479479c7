import HeapClient
import LinuxHeaps
import TestSupport
import Testing

/// A client whose second connection was refused, or ended.
@Suite struct LostObserverTests {
  @Test(.timeLimit(.minutes(1)))
  func `a deletion is complete without an observer`() async throws {
    let daemon = try Daemon(configuration: "user-connections = 1")
    let heap = try connect(daemon)
    let cleanups = Guarded(0)
    let vmo = try await heap.allocateVmo(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 2,
      cleanup: [{ cleanups.withLock { $0 += 1 } }])
    do throws(HeapError) {
      _ = try await heap.info(of: vmo)
      Issue.record("the observer's connection was not refused")
    } catch {
      #expect(error.code == .noResources || error.code == .peerClosed)
    }
    try await heap.deleteVmo(bufferCollectionID: 1, bufferIndex: 2, vmo: vmo)
    #expect(cleanups.withLock { $0 } == 1)
    #expect(heap.liveBufferCount == 0)
  }

  /// Whoever looked whether the server answers may be connected still.
  private func connect(_ daemon: Daemon) throws -> RemoteHeap {
    while true {
      do throws(HeapError) { return try RemoteHeap(socket: daemon.socket) } catch {
        guard error.code == .noResources else { throw error }
      }
    }
  }
}
