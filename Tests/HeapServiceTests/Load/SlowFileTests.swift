import Glibc
import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

/// Files whose close takes for ever, in every way that they can come in. The server's loop, and with it
/// every other client, must not be the one who waits.
@Suite(.enabled(if: SlowFile.isPossible, "needs a loopback device"))
struct SlowFileTests {
  enum Way: CaseIterable {
    case malformed, unknownMethod, tooMany, unknownKey, info, tracker, unread, behindEmpty, hangUp
  }

  @Test(arguments: Way.allCases)
  func `a file that does not close delays nobody`(_ way: Way) throws {
    let scene = try Scene()
    let slow = try SlowFile()
    let client = try WireClient(to: way.isHeap ? scene.daemon.socket : scene.daemon.observer)
    // So that no close here is the last one.
    scene.daemon.pause()
    defer { scene.daemon.resume() }
    try send(slow, to: client, way)
    scene.daemon.resume()
    // Many rounds, so that what is closed later is closed meanwhile too.
    for _ in 0..<20 {
      _ = try scene.observer.status()
      try scene.heap.receiveDeleted(scene.heap.sendDelete(1, of: 98, OddFile.memfd()))
    }
    slow.release()
    client.hangUp()
    try scene.expectUnharmed()
  }

  @Test(.enabled(if: TestUser.isRoot, "needs root, to be two users"))
  func `nor does one of a client that is refused`() throws {
    let scene = try Scene(
      configuration: "allow-users = \(TestUser.first.user)\n", arguments: ["--mode", "0666"])
    let slow = try SlowFile()
    scene.daemon.pause()
    let client: WireClient
    do {
      defer { scene.daemon.resume() }
      client = try WireClient(to: scene.daemon.socket, as: .second)
      for _ in 0..<3 { try client.send([0], [try #require(slow.file).fd.rawValue]) }
      slow.file = nil
    }
    #expect(try client.epitaph() == .accessDenied)
    _ = try scene.observer.status()
    slow.release()
    client.hangUp()
    try scene.expectUnharmed()
  }

  @Test(arguments: [true, false])
  func `nor does one on the metrics' socket`(isRead: Bool) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/metrics.sock"
    let scene = try Scene(arguments: ["--metrics-socket", path])
    let slow = try SlowFile()
    scene.daemon.pause()
    do {
      defer { scene.daemon.resume() }
      // The fifth of a user is refused.
      var readers: [SharedFD] = []
      for _ in 0..<(isRead ? 0 : 4) {
        readers.append(SharedFD(try SocketFile.connected(path, SOCK_STREAM)))
      }
      let reader = try SocketFile.connected(path, SOCK_STREAM)
      try WireClient.send(on: reader.rawValue, [10], [try #require(slow.file).fd.rawValue])
      slow.file = nil
      scene.daemon.resume()
      for _ in 0..<20 { _ = try scene.observer.status() }
      withExtendedLifetime(readers) {}
    }
    slow.release()
    try scene.expectUnharmed()
  }

  private func send(_ slow: SlowFile, to client: WireClient, _ way: Way) throws {
    let number = try #require(slow.file).fd.rawValue
    let unread = Array(repeating: number, count: 2)
    switch way {
    case .malformed: try client.send(GoodMessage.delete.bytes.with([1], at: 36), [number])
    case .unknownMethod: try client.send(GoodMessage.getStatus.bytes, [number])
    case .tooMany:
      // The server has room for the first of them.
      let file = try OddFile.memfd()
      try client.send(
        GoodMessage.delete.bytes, Array(repeating: file.fd.rawValue, count: 252) + [number])
    case .unknownKey: try client.send(GoodMessage.delete.bytes, [number])
    case .info: try client.send(GoodMessage.getVmoInfo.bytes, [number])
    case .tracker: try client.send(GoodMessage.attach.bytes, [number])
    case .unread:
      // The first ends the connection; the rest is in the socket then.
      for _ in 0..<200 { try? client.send([0], unread) }
    case .behindEmpty:
      // What has nothing in it looks as the end does.
      try client.send([0], [])
      for _ in 0..<3 { try client.send([], []) }
      try client.send([0], [number])
    case .hangUp:
      for _ in 0..<200 { try client.send(GoodMessage.delete.bytes, [number]) }
      client.hangUp()
    }
    slow.file = nil
  }
}

extension SlowFileTests.Way {
  fileprivate var isHeap: Bool {
    switch self {
    case .info, .tracker: false
    default: true
    }
  }
}
