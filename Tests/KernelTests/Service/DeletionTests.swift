import Glibc
import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

@testable import HeapTestKit

/// DeleteVmo: the handle is the authority, and the answer is a fence.
@Suite struct DeletionTests {
  private static func key(_ index: UInt64) -> BufferKey {
    BufferKey(bufferCollectionID: 7, bufferIndex: index)
  }

  @Test func `an answered deletion has left nothing`() throws {
    let scene = try Scene()
    let client = scene.heap
    do {
      let transaction = try client.sendDelete(1, client.allocate(1))
      try client.receiveDeleted(transaction)
    }
    #expect(try scene.daemon.descriptorCount == scene.descriptorCount)
    #expect(try client.refusal(1) == nil)
    try scene.expectUnharmed()
  }

  @Test func `the server keeps the parent of a buffer and nothing of its child`() throws {
    let scene = try Scene()
    let vmo = try scene.heap.allocate(1)
    // Of a udmabuf also the memfd of its pages: isolated slices are made of it.
    let parents = ServedHeaps.first == UDMABufHeap.name ? 2 : 1
    try scene.daemon.expectDescriptorCount(scene.descriptorCount + parents)
    #expect(try scene.observer.info(vmo) == Self.key(1))
  }

  @Test func `whoever has the vmo may delete it, on any connection`() throws {
    let scene = try Scene()
    do {
      let other = try WireClient.heap(scene.daemon)
      let transaction = try other.sendDelete(1, scene.heap.allocate(1))
      try other.receiveDeleted(transaction)
    }
    try scene.expectUnharmed()
  }

  @Test func `an unknown key is answered, and its handle's own buffer stays`() throws {
    let scene = try Scene()
    do {
      let vmo = try scene.heap.allocate(1)
      for _ in 0..<3 { try scene.heap.receiveDeleted(scene.heap.sendDelete(2, vmo)) }
      try scene.heap.receiveDeleted(scene.heap.sendDelete(1, of: 8, vmo))
      try scene.daemon.expectLog("DeleteVmo of an unknown buffer")
      #expect(try scene.observer.info(vmo) == Self.key(1))
    }
    try scene.expectUnharmed()
  }

  @Test func `a wrong handle ends the connection, and both buffers stay`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      let (first, second) = (try client.allocate(1), try client.allocate(2))
      try client.sendDelete(1, second)
      #expect(try client.epitaph() == .invalidArgs)
      #expect(try scene.observer.info(first) == Self.key(1))
      #expect(try scene.observer.info(second) == Self.key(2))
      try first.write([1])
      try second.write([2])
      #expect(try first.read(1) == [1])
    }
    try scene.expectUnharmed()
  }

  /// The key is taken from the request's arrival on, the vmo only once it is made.
  @Test func `a deletion sent twice is answered twice`() throws {
    let scene = try Scene()
    do {
      let peer = try Peer()
      let transactions = try deleteTwice(peer, scene.heap)
      #expect(!scene.heap.hasNews(within: 100))
      try peer.closeDescriptor()
      for transaction in transactions { try scene.heap.receiveDeleted(transaction) }
    }
    try scene.expectUnharmed()
  }

  private func deleteTwice(
    _ peer: borrowing Peer, _ client: WireClient
  ) throws -> [UInt32] {
    let vmo = try client.allocate(1)
    try peer.hold(vmo.vmo())
    return [try client.sendDelete(1, vmo), try client.sendDelete(1, vmo)]
  }

  @Test func `a deletion that waits keeps no other request waiting`() throws {
    let scene = try Scene()
    do {
      let peer = try Peer()
      let transaction = try deleteMapped(by: peer, scene.heap)
      for index in 10..<20 as Range<UInt64> {
        let vmo = try scene.heap.allocate(index)
        try scene.heap.receiveDeleted(scene.heap.sendDelete(99, vmo))
      }
      #expect(!scene.heap.hasNews(within: 100))
      // Taken until all of it is gone.
      #expect(try scene.heap.refusal(1) == .alreadyExists)
      try peer.unmap(byteCount: pageSize)
      try scene.heap.receiveDeleted(transaction)
    }
    try scene.expectUnharmed()
  }

  /// Its descriptor is closed again: only the mapping holds on.
  private func deleteMapped(by peer: borrowing Peer, _ client: WireClient) throws -> UInt32 {
    let vmo = try client.allocate(1)
    try peer.hold(vmo.vmo())
    try peer.map(byteCount: pageSize)
    try peer.closeDescriptor()
    return try client.sendDelete(1, vmo)
  }

  @Test func `after five seconds a line of the log says who holds on`() throws {
    let scene = try Scene()
    let peer = try Peer()
    let begin = ContinuousClock.now
    let transaction = try deleteMapped(by: peer, scene.heap)
    let process = try peer.process
    #expect(!scene.heap.hasNews(within: 4_000))
    let isSilent = !scene.daemon.log.contains("still held")
    // Read after the log: what stood still meanwhile proves nothing.
    #expect(isSilent || ContinuousClock.now - begin >= .seconds(5))
    try scene.daemon.expectLog(
      "a buffer is still held", "collection=7", "index=1",
      "process \(process) (", "): 0 descriptors, 1 mappings")
    try peer.kill()
    try scene.heap.receiveDeleted(transaction)
    let lines = scene.daemon.log.split(separator: "\n").count { $0.contains("still held") }
    #expect(lines == 1)
  }

  @Test func `each of many buffers that are held has its line`() throws {
    let scene = try Scene()
    var held: [SharedFD] = []
    for index in 0..<20 as Range<UInt64> {
      held.append(try scene.heap.allocate(index))
      try scene.heap.sendDelete(index, held[Int(index)])
    }
    for index in 0..<20 {
      try scene.daemon.expectLog(
        "a buffer is still held", "collection=7", "index=\(index) ", "process \(getpid()) (")
    }
    held = []
  }

  /// Twenty at once and then one a second: what is left out is counted, by the next line or by one of its own.
  @Test func `deletions that wait do not fill the log`() throws {
    let scene = try Scene()
    let begin = ContinuousClock.now
    var held: [SharedFD] = []
    for index in 0..<40 as Range<UInt64> {
      held.append(try scene.heap.allocate(index))
      try scene.heap.sendDelete(index, held[Int(index)])
    }
    var lines: [Substring] = []
    let allAreCounted = eventually {
      lines = scene.daemon.log.split(separator: "\n").filter { $0.contains("still held") }
      let leftOut = lines.compactMap {
        Int($0.split(separator: "more=").last?.prefix { $0.isNumber } ?? "")
      }
      let told = lines.count { !$0.contains("lines left out") }
      return told + leftOut.reduce(0, +) == 40
    }
    #expect(allAreCounted, "\(lines)")
    // A slow machine has had time for more of them.
    let seconds = Int((ContinuousClock.now - begin).components.seconds)
    #expect(lines.count <= 20 + seconds + 1)
    held = []
  }

  @Test func `a deletion goes on when its connection ends`() throws {
    let scene = try Scene()
    do {
      let peer = try Peer()
      do {
        let client = try WireClient.heap(scene.daemon)
        _ = try deleteMapped(by: peer, client)
      }
      let isThere = try eventually { try scene.observer.status().orphans == 1 }
      #expect(isThere)
      try peer.unmap(byteCount: pageSize)
    }
    try scene.expectUnharmed()
  }
}
