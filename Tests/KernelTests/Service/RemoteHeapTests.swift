import HeapClient
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// The kit's checks, on heaps behind a service.
@Suite(.serialized) struct RemoteHeapTests {
  static let heaps = ServedHeaps.chosen ?? HeapUnderTest.all().map(\.name)

  @Test(arguments: heaps)
  func `a heap behind the service passes the checks`(_ name: String) async throws {
    let daemon = try Daemon(heap: [name])
    let local = try #require(HeapUnderTest.all().first { $0.name == name })
    let heap = try await HeapUnderTest.service(local.settings, socket: daemon.socket)
    #expect(heap.name == "\(name), served at \(daemon.socket)")
    for check in HeapCheck.all(for: heap) {
      let outcome = await check.run(on: heap)
      if case .failed(let reason) = outcome { Issue.record("\(check): \(reason)") }
    }
    #expect(daemon.stop() == 0)
    #expect(!daemon.log.contains(" error heapd:"), "\(daemon.log)")
  }

  @Test func `settings for which a message has no room are refused`() throws {
    let daemon = try Daemon()
    let heap = try RemoteHeap(socket: daemon.socket)
    var settings = SingleBufferSettings(imageFormatConstraints: ImageFormatConstraints())
    func allocate() throws(HeapError) {
      _ = try heap.allocateVmo(
        size: pageSize, settings: settings, bufferCollectionID: 1, bufferIndex: 0)
    }
    settings.imageFormatConstraints?.colorSpaces = Array(repeating: 1, count: 33)
    let error = #expect(throws: HeapError.self) { try allocate() }
    #expect(error?.code == .invalidArgs)
    let field = "settings.image_format_constraints.color_spaces"
    #expect(error?.cause == "\(field) has more elements than a message can carry")
    settings.imageFormatConstraints?.colorSpaces = Array(repeating: 1, count: 32)
    try allocate()
  }
}
