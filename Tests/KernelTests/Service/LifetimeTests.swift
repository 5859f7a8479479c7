import Glibc
import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

@testable import HeapTestKit

/// How long buffers live, and who is told of their end.
@Suite struct LifetimeTests {
  @Test func `a buffer goes with its last handle, without a deletion`() throws {
    let scene = try Scene()
    do { _ = try scene.heap.allocate(1) }
    let isGone = try eventually { try scene.observer.status().buffers.count == 1 }
    #expect(isGone)
    try scene.expectUnharmed()
  }

  /// An open file's are also the server's, which has a descriptor of it; a process's own go when it closes one.
  @Test(arguments: FileLocks.allCases, [1, 1_000])
  func `locks that a client has set keep no buffer`(_ locks: FileLocks, _ count: Int) throws {
    let scene = try Scene()
    do {
      let vmo = try scene.heap.allocate(1)
      try locks.set(count, on: vmo.fd.rawValue)
      #expect(try scene.observer.status().buffers.count == 2)
    }
    #expect(try eventually { try scene.observer.status().buffers.count == 1 })
    try scene.expectUnharmed()
  }

  // Each is memory of the kernel's, and a hundred that lived at once leave a hundred.
  @Test func `a while after the last buffer, no fdinfo file is open`() throws {
    let daemon = try Daemon(heap: [ServedHeaps.first], openFolder: true)
    let client = try WireClient.heap(daemon)
    let folder = "/proc/\(daemon.identifier)/fd"
    func openFiles() throws -> Int {
      try SmallFile.entries(of: folder).count {
        (try? SmallFile.link("\(folder)/\($0)"))?.contains("/fdinfo/") == true
      }
    }
    do {
      let vmos = try (0..<20).map { try client.allocate($0) }
      // A memfd's count is read of no file.
      let areOpen = try eventually { try openFiles() > 0 || ServedHeaps.first == "memfd" }
      #expect(areOpen && vmos.count == 20)
    }
    let areClosed = try eventually { try openFiles() == 0 }
    #expect(areClosed)
    // And buffers come again.
    _ = try client.allocate(20)
  }

  @Test func `a buffer goes with the process that had the last handle`() throws {
    let scene = try Scene()
    let peer = try Peer()
    try give(scene.heap.allocate(1), to: peer)
    #expect(try scene.observer.status().buffers.count == 2)
    try peer.kill()
    try scene.expectUnharmed()
  }

  private func give(_ vmo: SharedFD, to peer: borrowing Peer) throws {
    try peer.hold(vmo.vmo())
  }

  @Test func `a buffer outlives the client that made it, and its connection`() throws {
    let scene = try Scene()
    do {
      let vmo = try ofAClientThatIsGone(scene)
      #expect(try vmo.read(5) == Array("hello".utf8))
      let info = try scene.observer.info(vmo)
      #expect(info == BufferKey(bufferCollectionID: 7, bufferIndex: 1))
      let status = try scene.observer.status()
      let buffer = try #require(status.buffers.first { $0.collection == 7 })
      #expect(buffer.orphan && buffer.process == getpid() && buffer.heap == ServedHeaps.first)
      #expect(status.orphans == 1)
      try scene.heap.sendDelete(1, vmo)
    }
    try scene.heap.receiveDeleted(scene.heap.lastTransaction)
    #expect(try scene.observer.status().orphans == 0)
    try scene.expectUnharmed()
  }

  private func ofAClientThatIsGone(_ scene: Scene) throws -> SharedFD {
    let pair = try MessageSocket.Pair()
    do {
      let client = try WireClient.heap(scene.daemon)
      let vmo = try client.allocate(1)
      try vmo.write(Array("hello".utf8))
      try pair.near.send([0], descriptors: [vmo.fd.rawValue])
    }
    let isAlone = try eventually { try scene.observer.status().connections.count == 2 }
    #expect(isAlone)
    // All this while its only handle was in a message.
    guard let message = try pair.far.receive() else { throw Unexpected("a handle", nil) }
    return Received(message).handles[0]
  }

  @Test func `every handle of a buffer tells its key until its deletion begins`() throws {
    let scene = try Scene()
    let vmo = try scene.heap.allocate(.max, of: .max)
    let key = BufferKey(bufferCollectionID: .max, bufferIndex: .max)
    let path = "/proc/self/fd/\(vmo.fd.rawValue)"
    for handle in [vmo, try vmo.duplicate()] { #expect(try scene.observer.info(handle) == key) }
    // It is no reference, and may be there when the memory is another buffer's.
    #expect(try scene.observer.info(OddFile.open(path, OddFile.pathOnly)) == nil)
    let peer = try Peer()
    try give(vmo, to: peer)
    try scene.heap.sendDelete(.max, of: .max, vmo)
    // On another socket: it need not have been read yet.
    let hasBegun = try eventually { try scene.observer.info(vmo) == nil }
    #expect(hasBegun)
  }

  // MARK: AwaitReclaimed

  @Test func `whoever waits for a buffer's end is told`() throws {
    let scene = try Scene()
    do {
      let other = try WireClient.observer(scene.daemon)
      let transactions = try watch(scene, other)
      #expect(!scene.observer.hasNews(within: 100))
      let deletion = scene.heap.lastTransaction
      #expect(!scene.heap.hasNews(within: 0))
      held.clear()
      try scene.heap.receiveDeleted(deletion)
      try scene.observer.receiveReclaimed(transactions.0)
      try scene.observer.receiveReclaimed(transactions.1)
      try other.receiveReclaimed(transactions.2)
    }
    try scene.expectUnharmed()
  }

  private let held = Held()

  /// A handle that a test lets go of when it likes.
  private final class Held {
    var handle: SharedFD?
    func clear() { handle = nil }
  }

  private func watch(
    _ scene: Scene, _ other: WireClient
  ) throws -> (UInt32, UInt32, UInt32) {
    let vmo = try scene.heap.allocate(1)
    held.handle = try vmo.duplicate()
    let first = try scene.observer.sendAwait(vmo)
    let third = try other.sendAwait(vmo)
    // Answered, so the first was read.
    #expect(try scene.observer.info(vmo) != nil)
    let isRead = try eventually { try scene.observer.status().connections.last?.waits == 1 }
    #expect(isRead)
    try scene.heap.sendDelete(1, vmo)
    // Also when the deletion has begun.
    let second = try scene.observer.sendAwait(vmo)
    return (first, second, third)
  }

  // MARK: AttachLifetimeTracking

  @Test func `a handle is closed when all but so many buffers are gone`() throws {
    let scene = try Scene()
    do {
      let pipe = try OddFile.pipe()
      var buffers = try (0..<3).map { try scene.heap.allocate($0) }
      let unrelated = try scene.heap.allocate(0, of: 8)
      let tracker = try track(scene, remaining: 1)
      let last = try track(scene, remaining: 0)
      try scene.observer.attach(pipe.write, to: 7, remaining: 2)
      for left in [2, 1, 0] {
        try scene.heap.sendDelete(UInt64(left), buffers.removeLast())
        try scene.heap.receiveDeleted(scene.heap.lastTransaction)
        #expect(tracker.isHungUp(within: left <= 1 ? 5_000 : 0) == (left <= 1))
        #expect(last.isHungUp(within: left == 0 ? 5_000 : 0) == (left == 0))
      }
      _ = try scene.observer.info(unrelated)
    }
    try scene.expectUnharmed()
  }

  private func track(_ scene: Scene, remaining: UInt32) throws -> SharedFD {
    let pipe = try OddFile.pipe()
    try scene.observer.attach(pipe.write, to: 7, remaining: remaining)
    return pipe.read
  }

  @Test func `with no more buffers than that it is closed at once`() throws {
    let scene = try Scene()
    do {
      let buffer = try scene.heap.allocate(0)
      #expect(try track(scene, remaining: 1).isHungUp(within: 5_000))
      #expect(try !track(scene, remaining: 0).isHungUp(within: 100))
      #expect(try track(scene, remaining: .max).isHungUp(within: 5_000))
      _ = try scene.observer.info(buffer)
    }
    try scene.expectUnharmed()
  }

  @Test func `a handle waits for its collection after its client is gone`() throws {
    let scene = try Scene()
    do {
      var buffers = [try scene.heap.allocate(0)]
      let tracker = try ofAnObserverThatIsGone(scene)
      #expect(!tracker.isHungUp(within: 100))
      try scene.heap.sendDelete(0, buffers.removeLast())
      try scene.heap.receiveDeleted(scene.heap.lastTransaction)
      #expect(tracker.isHungUp(within: 5_000))
    }
    try scene.expectUnharmed()
  }

  private func ofAnObserverThatIsGone(_ scene: Scene) throws -> SharedFD {
    let pipe = try OddFile.pipe()
    let observer = try WireClient.observer(scene.daemon)
    try observer.attach(pipe.write, to: 7, remaining: 0)
    return pipe.read
  }
}
