import CLinuxHeaps
import Foundation
import Glibc
import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

@testable import HeapTestKit

/// Clients that do not read, and clients that ask without end.
@Suite struct StallTests {
  /// Refused at once, so that nothing but answers piles up.
  private static let request: [UInt8] = GoodMessage.allocate.bytes.with(
    [UInt8](repeating: 0, count: 8), at: 16)

  @Test func `who does not read is dropped, and delays nobody`() throws {
    // Longer than all of it takes to be sent.
    let scene = try Scene(configuration: "stall-seconds = 5")
    do {
      let client = try WireClient.heap(scene.daemon)
      let before = try Latency.median { _ = try scene.heap.refusal(size: 0) }
      let begin = ContinuousClock.now
      let sent = try client.sendWithoutReading(Self.request)
      #expect(sent > 100)
      let meanwhile = try Latency.median { _ = try scene.heap.refusal(size: 0) }
      #expect(meanwhile < before * 20)
      try scene.daemon.expectLog("client dropped: it does not read replies", "unread=1")
      #expect(ContinuousClock.now - begin >= .seconds(5))
      // What was sent can be read, and then it ends.
      var answers = 0
      while try client.receive() != nil { answers += 1 }
      #expect((100...sent).contains(answers))
    }
    try scene.expectUnharmed()
  }

  /// The answer lies in its socket, and holds a buffer and its descriptor.
  @Test func `who leaves one answer unread is dropped, and whoever waits is not`() throws {
    let scene = try Scene(configuration: "stall-seconds = 1")
    do {
      let peer = try Peer()
      let waiting = try WireClient.heap(scene.daemon)
      try deleteHeld(by: peer, waiting)
      let client = try WireClient.heap(scene.daemon)
      try client.send(GoodMessage.allocate.bytes)
      try scene.daemon.expectLog("client dropped: it does not read replies", "unread=1")
      #expect(try waiting.refusal(size: 0) == .invalidArgs)
    }
    try scene.expectUnharmed()
  }

  /// What a client sends says nothing of what it has read.
  @Test(arguments: [true, false])
  func `nor does another message help who leaves an answer unread`(isHeap: Bool) throws {
    let scene = try Scene(configuration: "stall-seconds = 1")
    do {
      let client = try isHeap ? WireClient.heap(scene.daemon) : .observer(scene.daemon)
      var held: SharedFD?
      // Neither second message has an answer: a deletion waits for its handle, and nobody knows the method.
      if isHeap {
        held = try client.allocate(1)
        try client.send(GoodMessage.allocate.bytes)
        try client.sendDelete(1, #require(held))
      } else {
        let file = try OddFile.memfd()
        try client.send(GoodMessage.getVmoInfo.bytes, [file.fd.rawValue])
        try client.send(GoodMessage.unanswered.bytes)
      }
      try scene.daemon.expectLog("client dropped: it does not read replies", "unread=1")
      withExtendedLifetime(held) {}
    }
    try scene.expectUnharmed()
  }

  /// Its socket is never empty, and does not get emptier.
  @Test func `who reads on with answers ahead of it is not dropped`() throws {
    let scene = try Scene(configuration: "stall-seconds = 3")
    do {
      let client = try WireClient.heap(scene.daemon)
      for _ in 0..<4 { try client.send(Self.request) }
      let end = ContinuousClock.now + .seconds(8)
      while ContinuousClock.now < end {
        try #require(try client.receive()?.decode(AllocateVmoResult.self) == .status(-10))
        try client.send(Self.request)
        usleep(20_000)
      }
    }
    #expect(!scene.daemon.log.contains("client dropped"))
    try scene.expectUnharmed()
  }

  @Test func `who reads late gets every answer`() throws {
    let scene = try Scene(configuration: "stall-seconds = 1000")
    do {
      let client = try WireClient.heap(scene.daemon)
      let sent = try client.sendWithoutReading(Self.request)
      for _ in 0..<sent {
        #expect(try client.receive()?.decode(AllocateVmoResult.self) == .status(-10))
      }
      #expect(try client.refusal() == nil)
    }
    try scene.expectUnharmed()
  }

  /// The epitaph is the last message also where it has to wait for its reader.
  @Test func `nothing follows the epitaph of who reads late`() throws {
    let scene = try Scene(configuration: "stall-seconds = 1000")
    do {
      let room = try answersThatFit(scene.daemon)
      let client = try WireClient.heap(scene.daemon)
      let peer = try Peer()
      try deleteHeld(by: peer, client)
      for _ in 0..<room { try client.send(Self.request) }
      try client.send(GoodMessage.getStatus.bytes)
      try scene.daemon.expectLog("connection closed", "Heap has no method")
      // An answer that waited is due now.
      try peer.closeDescriptor()
      let isGone = try eventually { try scene.observer.status().buffers.count == 1 }
      #expect(isGone)
      for _ in 0..<room { #expect(try client.receive()?.decode(AllocateVmoResult.self) != nil) }
      #expect(try client.epitaph() == .notSupported)
    }
    try scene.expectUnharmed()
  }

  /// In the socket of a client that does not read.
  private func answersThatFit(_ daemon: Daemon) throws -> Int {
    let client = try WireClient.heap(daemon)
    _ = try client.sendWithoutReading(Self.request)
    daemon.pause()
    defer { daemon.resume() }
    var count = 0
    while client.hasNews(within: 0) {
      _ = try client.receive()
      count += 1
    }
    return count
  }

  private func deleteHeld(by peer: borrowing Peer, _ client: WireClient) throws {
    let vmo = try client.allocate(1)
    try peer.hold(vmo.vmo())
    try client.sendDelete(1, vmo)
  }

  /// A report is a file, which lives on in its answer.
  @Test func `who does not read reports gets few of them`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.observer(scene.daemon)
      let sent = try client.sendWithoutReading(GoodMessage.getStatus.bytes, atMost: 100)
      let areTaken = eventually { CLinuxHeaps_unread(client.descriptor) == 0 }
      #expect(areTaken)
      var reports = 0
      for _ in 0..<sent {
        switch try client.receive()?.decode(GetStatusReply.self)?.result {
        case .success: reports += 1
        case let other: #expect(other == .failure(HeapError.Code.noResources.rawValue))
        }
      }
      #expect(sent == 100 && reports == 4)
      #expect(try client.status().schemaVersion == 1)
    }
    try scene.expectUnharmed()
  }

  @Test func `vmos in answers that nobody read go with their client`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      for index in 0..<50 as Range<UInt64> {
        try client.request { transaction, bytes in
          AllocateVmoRequest(
            size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 7,
            bufferIndex: index
          ).encode(transactionID: transaction, into: &bytes)
        }
      }
      let areThere = try eventually { try scene.observer.status().quota.buffers == 51 }
      #expect(areThere)
    }
    try scene.expectUnharmed()
  }

  @Test func `who asks without end delays nobody much`() throws {
    let scene = try Scene()
    do {
      // The processors are as busy by another server's clients.
      let other = try Daemon()
      let elsewhere = try (0..<2).map { _ in try Greedy(other, Self.request) }
      let before = try Latency.median { _ = try scene.heap.refusal(size: 0) }
      for greedy in elsewhere { _ = greedy.stop() }
      let greedy = try (0..<2).map { _ in try Greedy(scene.daemon, Self.request) }
      let meanwhile = try Latency.median { _ = try scene.heap.refusal(size: 0) }
      #expect(meanwhile < before * 20)
      for greedy in greedy { #expect(greedy.stop() > 100) }
    }
    try scene.expectUnharmed()
  }
}

/// A client on a thread of its own that sends as fast as it can, and reads.
private final class Greedy: @unchecked Sendable {
  private let client: WireClient
  private let answers = Guarded(0)
  private let isStopping = Guarded(false)
  private let end = Gate()

  init(_ daemon: Daemon, _ request: [UInt8]) throws {
    client = try .heap(daemon)
    Thread.detachNewThread { [self] in
      while !isStopping.withLock({ $0 }) {
        guard let sent = try? client.sendWithoutReading(request, atMost: 100) else { break }
        for _ in 0..<sent { _ = try? client.receive() }
        answers.withLock { $0 += sent }
      }
      end.open()
    }
    // Under way.
    _ = eventually { answers.withLock { $0 } > 100 }
  }

  func stop() -> Int {
    isStopping.withLock { $0 = true }
    end.wait()
    client.hangUp()
    return answers.withLock { $0 }
  }
}
