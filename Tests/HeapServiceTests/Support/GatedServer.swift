import Foundation
import Glibc
import HeapServer
import LinuxHeaps
import Logging
import TestSupport

/// A server in this process, of a heap that takes as long as a test likes; it ends with this value.
final class GatedServer {
  let gate = Gate()
  let socket: String
  private let folder: String
  private let server: HeapServer
  private let end = Gate()

  init(_ limits: (inout Limits) -> Void = { _ in }) throws {
    folder = try Daemon.newFolder()
    socket = folder + "/heap.sock"
    _ = unsafe chmod(folder, 0o755)
    var policy = try Policy()
    limits(&policy.limits)
    server = try HeapServer(
      sockets: HeapServer.Sockets(
        heap: Listener(at: socket, mode: 0o666),
        observer: Listener(at: socket + ".observer")),
      policy: policy, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      heap: GatedHeap(gate), heapName: "gated")
    let (server, end) = (self.server, self.end)
    Thread.detachNewThread {
      try? server.run()
      end.open()
    }
  }

  /// Takes no more requests; ``waitForEnd()`` returns when those under way are answered.
  func stop() { server.stop() }

  var hasEnded: Bool { end.isPassable }

  func waitForEnd() { end.wait() }

  deinit {
    gate.open()
    stop()
    waitForEnd()
    try? FileManager.default.removeItem(atPath: folder)
  }
}
