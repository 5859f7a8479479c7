import HeapTestKit
import LinuxHeaps
import Testing

/// The kit's checks, on heaps behind a service.
@Suite(.serialized) struct RemoteHeapTests {
  static let heaps = ServedHeaps.chosen ?? HeapUnderTest.all().map(\.name)

  @Test(arguments: heaps)
  func `a heap behind the service passes the checks`(_ name: String) async throws {
    let daemon = try Daemon(heap: [name])
    let local = try #require(HeapUnderTest.all().first { $0.name == name })
    let heap = try await HeapUnderTest.service(local.settings, socket: daemon.socket)
    #expect(heap.kind == local.kind)
    for check in HeapCheck.all(for: heap) {
      let outcome = await check.run(on: heap)
      if case .failed(let reason) = outcome { Issue.record("\(check): \(reason)") }
    }
    #expect(daemon.stop() == 0)
    #expect(!daemon.log.contains("error"), "\(daemon.log)")
  }
}
