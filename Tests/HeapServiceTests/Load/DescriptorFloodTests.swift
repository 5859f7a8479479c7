import Glibc
import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

/// Clients that send files as fast as they can, or files that do not close.
@Suite struct DescriptorFloodTests {
  /// The server closes what comes with it, and goes on.
  private static let unanswered = GoodMessage.unanswered.bytes

  @Test func `a flood of files is closed as it comes`() throws {
    let scene = try Scene()
    var most = 0
    do {
      let file = try OddFile.memfd()
      let flood = Array(repeating: file.fd.rawValue, count: 64)
      let client = try WireClient.observer(scene.daemon)
      for round in 0..<1_000 {
        try client.send(Self.unanswered, flood)
        if round % 100 == 0 {
          most = max(most, try scene.daemon.descriptorCount)
          // Others are served meanwhile.
          _ = try scene.heap.refusal(5, of: 98)
        }
      }
      #expect(try client.status().schemaVersion == 1)
    }
    // 64,000 came.
    #expect(most < 1_000)
    try scene.expectUnharmed()
  }

  /// What finds no room is closed in recvmsg(2), on the loop's thread, and its message is not whole.
  @Test(.enabled(if: TestUser.isRoot, "needs root, to be many users"))
  func `every message finds room for its files, or waits for it`() throws {
    let daemon = try Daemon(
      arguments: ["--mode", "0666"],
      through: ["/bin/sh", "-c", "ulimit -n 700; exec \"$@\"", "sh"], openFolder: true)
    let file = try OddFile.memfd()
    let flood = Array(repeating: file.fd.rawValue, count: 64)
    let clients = try (0..<8).map {
      try WireClient.observer(daemon, as: TestUser(user: 54_330 + $0))
    }
    daemon.pause()
    do {
      defer { daemon.resume() }
      for client in clients { for _ in 0..<2 { try client.send(Self.unanswered, flood) } }
    }
    for client in clients { #expect(try client.info(file) == nil) }
    #expect(!daemon.log.contains("connection closed") && !daemon.log.contains("client dropped"))
  }

  @Test(.enabled(if: TestUser.isRoot, "needs root, to be two users"))
  func `who sends files that do not close is held up, then dropped, and nobody else`() throws {
    let scene = try Scene(configuration: "stall-seconds = 1", arguments: ["--mode", "0666"])
    let pipes = try (0..<2).map { _ in try HeldPipe() }
    do {
      let client = try WireClient.observer(scene.daemon, as: .first)
      let file = try OddFile.memfd()
      // One after the other, so that each has a closer of its own.
      for pipe in pipes {
        scene.daemon.pause()
        try client.send(Self.unanswered, [try #require(pipe.file).fd.rawValue])
        pipe.file = nil
        scene.daemon.resume()
        usleep(1_200_000)
      }
      // On a busy machine it is dropped meanwhile.
      for _ in 0..<20 {
        try? client.send(Self.unanswered, Array(repeating: file.fd.rawValue, count: 64))
      }
      // Read no further than the bound, though there is more.
      try scene.daemon.expectLog("client dropped: files that it sent do not close", "user=54321")
      #expect(try client.receive() == nil)
      let another = try WireClient.heap(scene.daemon, as: .second)
      try another.receiveDeleted(another.sendDelete(1, file))
    }
    for pipe in pipes { pipe.release() }
    // It is let in again once its files are closed.
    #expect(
      eventually {
        guard let client = try? WireClient.observer(scene.daemon, as: .first) else { return false }
        return (try? client.info(OddFile.memfd()) == nil) == true
      })
    try scene.expectUnharmed()
  }
}
