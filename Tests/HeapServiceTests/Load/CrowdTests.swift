import Glibc
import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

/// One user's connections, with files in flight that do not close: they take that user's share.
@Suite(
  .enabled(if: SlowFile.isPossible, "needs a loopback device"),
  .enabled(if: TestUser.isRoot, "needs root, to be two users"))
struct CrowdTests {
  enum Socket: CaseIterable { case heap, observer, metrics }

  private static let limit = 600

  @Test(arguments: Socket.allCases)
  func `a crowd whose files do not close keeps nobody out`(_ socket: Socket) throws {
    let folder = try TemporaryFolder()
    _ = unsafe chmod(folder.path, 0o755)
    let metrics = folder.path + "/metrics.sock"
    let daemon = try Daemon(
      configuration: "user-connections = 1000",
      arguments: ["--mode", "0666", "--metrics-socket", metrics],
      through: ["/bin/sh", "-c", "ulimit -n \(Self.limit); exec \"$@\"", "sh"], openFolder: true)
    let other = try WireClient.heap(daemon, as: .second)
    var slow: [SlowFile] = []
    var most = 0
    for round in 0..<60 {
      let file = try SlowFile()
      try Self.leave(file, at: socket, daemon, metrics)
      slow.append(file)
      if round % 10 == 0 { #expect(try other.refusal(size: 0) == .invalidArgs) }
      most = max(most, try daemon.descriptorCount)
    }
    #expect(most < Self.limit / 2)
    // Who comes anew is let in.
    #expect(try WireClient.heap(daemon, as: .second).refusal() == nil)
    // A socket's files are closed, though nobody has let go of their other ends.
    let isEmpty = try eventually { try daemon.descriptorCount < 40 }
    #expect(isEmpty)
  }

  /// Sends it with bytes that end the connection, or are not read, and hangs up, before the server looks. With one that stands still
  /// nobody gets past a full queue.
  private static func leave(
    _ file: SlowFile, at socket: Socket, _ daemon: Daemon, _ metrics: String
  ) throws {
    let number = try #require(file.file).fd.rawValue
    switch socket {
    case .heap, .observer:
      let client = try WireClient(
        to: socket == .heap ? daemon.socket : daemon.observer, as: .first)
      daemon.pause()
      defer { daemon.resume() }
      // The first ends it, so that the second is not received.
      try client.send([0])
      try client.send([0], [number])
      client.hangUp()
      file.file = nil
    case .metrics:
      let reader = try SocketFile.connected(metrics, SOCK_STREAM)
      daemon.pause()
      defer { daemon.resume() }
      try WireClient.send(on: reader.rawValue, [10], [number])
      _ = consume reader
      file.file = nil
    }
  }
}
