import Glibc
import HeapProtocol
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// A server that may open few files.
@Suite struct DescriptorLimitTests {
  private static let few = ["/bin/sh", "-c", "ulimit -n 260; exec \"$@\"", "sh"]

  @Test func `it refuses, keeps its clients and recovers`() throws {
    let daemon = try Daemon(
      configuration: "user-connections = 500\nconnection-buffers = 1000\n", through: Self.few)
    let client = try WireClient.heap(daemon)
    var buffers: [SharedFD] = []
    var refusal: HeapError.Code?
    while refusal == nil && buffers.count < 300 {
      do { buffers.append(try client.allocate(UInt64(buffers.count))) } catch let error as Refusal {
        refusal = error.code
      }
    }
    #expect(refusal == .noResources)
    #expect(buffers.count > 50)
    try daemon.expectLog("allocation refused", "descriptors are used up")
    // Handles still arrive: what is there can be given back.
    while !buffers.isEmpty {
      var last = buffers.popLast()
      try client.delete(UInt64(buffers.count), &last)
    }
    #expect(try client.refusal() == nil)
  }

  /// A udmabuf is two files, and of a client that left the process is watched while a dma-buf of it lives.
  @Test(arguments: HeapUnderTest.kinds)
  func `it keeps room for a message, whatever buffers cost it`(_ subject: HeapUnderTest) throws {
    let limit = 1000
    let daemon = try Daemon(
      heap: [subject.name], configuration: "user-connections = 1000",
      through: ["/bin/sh", "-c", "ulimit -n \(limit); exec \"$@\"", "sh"])
    var buffers: [SharedFD] = []
    var refusal: HeapError.Code?
    while refusal == nil && buffers.count < limit {
      do {
        let client = try WireClient.heap(daemon)
        buffers.append(
          try client.allocate(UInt64(buffers.count), settings: subject.settings))
      } catch let error as Refusal {
        refusal = error.code
      } catch is Unexpected {
        // An epitaph in place of OnRegister.
        refusal = .noResources
      }
    }
    #expect(refusal == .noResources)
    #expect(try limit - daemon.descriptorCount >= WireLimits.maxHandles)
    #expect(buffers.count > 100)
  }

  @Test func `connections beyond it are refused, and it does not spin`() throws {
    let daemon = try Daemon(configuration: "user-connections = 500\n", through: Self.few)
    var clients: [WireClient] = []
    var refused = 0
    for _ in 0..<150 {
      let client = try WireClient(to: daemon.socket)
      if try client.receive()?.decode(Epitaph.self) != nil {
        refused += 1
      } else {
        clients.append(client)
      }
    }
    #expect(refused > 0 && clients.count > 20)
    let before = try daemon.processorTime
    sleep(1)
    #expect(try daemon.processorTime - before < 0.5)
    clients = []
    #expect(eventually { (try? WireClient.heap(daemon).refusal()) == .some(nil) })
  }
}
