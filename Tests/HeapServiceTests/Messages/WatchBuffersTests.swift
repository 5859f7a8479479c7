import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

/// The events of a connection's buffers.
@Suite struct WatchBuffersTests {
  private static func key(_ index: UInt64) -> BufferKey {
    BufferKey(bufferCollectionID: 7, bufferIndex: index)
  }

  @Test func `who asked is told of each end, and others are not`() throws {
    let scene = try Scene()
    do {
      let other = try WireClient.heap(scene.daemon)
      let client = try WireClient.heap(scene.daemon)
      // Also of a buffer from before.
      let early = Held(try client.allocate(1))
      try client.watchBuffers()
      for index: UInt64 in [2, 1, 2] {
        // The name can be used again once its event is there.
        let late = index == 2 ? Held(try client.allocate(2)) : early
        #expect(!client.hasNews(within: 20))
        late.clear()
        #expect(try client.receiveReclaimed() == Self.key(index))
      }
      let unwatched = Held(try other.allocate(3))
      unwatched.clear()
      let isGone = try eventually { try scene.observer.status().quota.buffers == 1 }
      #expect(isGone)
      #expect(!other.hasNews(within: 20) && !client.hasNews(within: 0))
    }
    try scene.expectUnharmed()
  }

  @Test func `the answer to its own deletion tells a client enough`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      try client.watchBuffers()
      var vmo: SharedFD? = try client.allocate(1)
      try client.delete(1, &vmo)
      #expect(!client.hasNews(within: 20))
    }
    try scene.expectUnharmed()
  }

  @Test func `another client's deletion is an end like any other`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      try client.watchBuffers()
      var vmo: SharedFD? = try client.allocate(1)
      try scene.heap.delete(1, &vmo)
      #expect(try client.receiveReclaimed() == Self.key(1))
      #expect(!scene.heap.hasNews(within: 20))
    }
    try scene.expectUnharmed()
  }

  @Test func `an allocation that fails is no buffer's end`() throws {
    let scene = try Scene(
      configuration: "connection-bytes = 1024G\nuser-bytes = 1024G\ntotal-bytes = 1024G\n")
    do {
      let client = try WireClient.heap(scene.daemon)
      try client.watchBuffers()
      // More than the machine has.
      #expect(try client.refusal(1, size: 1 << 39) == .noMemory)
      #expect(!client.hasNews(within: 20))
    }
    try scene.expectUnharmed()
  }

  private final class Held {
    private var handle: SharedFD?

    init(_ handle: SharedFD) { self.handle = handle }

    func clear() { handle = nil }
  }
}
