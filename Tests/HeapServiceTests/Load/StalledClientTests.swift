import HeapProtocol
import LinuxHeaps
import Testing

/// Clients that take and do not give.
@Suite struct StalledClientTests {
  @Test func `a client that reads no answers is dropped, and no other waits for it`() throws {
    let scene = try Scene(configuration: "stall-seconds = 1\n")
    let daemon = scene.daemon
    let stuck = try WireClient.heap(daemon)
    // More than its socket takes: each answer of a refusal is a message.
    let request = AllocateVmoRequest(
      size: 0, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 1)
    // Until the server, whose answers find no room, reads no more requests either.
    var sent = 0
    while sent < 100_000, stuck.isWritable {
      try stuck.request { request.encode(transactionID: $0, into: &$1) }
      sent += 1
    }
    #expect(sent < 100_000)
    #expect(try scene.heap.refusal(5) == nil)
    try daemon.expectLog("client dropped", "reads no answers")
    try scene.expectUnharmed()
  }
}
