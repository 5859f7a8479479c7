import Foundation
import Glibc
import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

/// Who may connect how often. A refused client is told, and hears nothing else.
@Suite struct ConnectionLimitTests {
  @Test(.enabled(if: TestUser.isRoot, "needs root, to be two users"))
  func `connections of a user`() throws {
    let daemon = try Daemon(
      configuration: "user-connections = 2", arguments: ["--mode", "0666"],
      openFolder: true)
    var clients = [
      try WireClient.heap(daemon, as: .first), try WireClient.observer(daemon, as: .first),
    ]
    // Admitted, and not only connected.
    #expect(try clients[1].status().users.contains { $0.connections == 2 })
    for path in [daemon.socket, daemon.observer] {
      #expect(try WireClient(to: path, as: .first).epitaph() == .noResources)
    }
    try daemon.expectLog("client refused: too many connections", "user=54321")
    #expect(try WireClient.heap(daemon, as: .second).refusal() == nil)
    clients.removeLast()
    let isServed = try eventually {
      try WireClient(to: daemon.socket, as: .first).epitaph() == nil
    }
    #expect(isServed)
  }

  /// Who is in it may be gone, and whoever comes next waits for all of it.
  @Test func `few find a place in the queue of a busy server, and others wait for one`() throws {
    let daemon = try Daemon()
    daemon.pause()
    let (heap, observer) = (try Self.fill(daemon.socket), try Self.fill(daemon.observer))
    daemon.resume()
    #expect(heap == 9)
    #expect(observer == 129)
    #expect(try WireClient.heap(daemon).refusal() == nil)
  }

  @Test func `a service manager's queue is made as short`() throws {
    let manager = try StandInManager(heap: "memfd")
    try manager.start()
    let process = try #require(manager.process)
    kill(process, SIGSTOP)
    let heap = try Self.fill(manager.socket)
    kill(process, SIGCONT)
    #expect(heap == 9)
    #expect(try WireClient(to: manager.socket).epitaph() == nil)
  }

  @Test func `nothing is made for who has hung up before it is let in`() throws {
    let daemon = try Daemon(arguments: ["--log-level", "debug"])
    daemon.pause()
    let gone = try Self.fill(daemon.socket)
    daemon.resume()
    #expect(try WireClient.heap(daemon).refusal() == nil)
    #expect(gone == 9)
    // It writes all of its log before it ends.
    _ = daemon.stop()
    // And for who looked whether it answers.
    #expect(daemon.log.components(separatedBy: "client connected").count - 1 == 2)
  }

  /// Its socket is closed with what it sent unread, which answers ECONNRESET before what was sent to it (unix_release_sock,
  /// net/unix/af_unix.c).
  @Test(arguments: [SHUT_WR, SHUT_RDWR])
  func `who hangs up reads what was sent before`(_ direction: Int) throws {
    let daemon = try Daemon()
    let client = try WireClient(to: daemon.socket)
    #expect(client.hasNews(within: 10_000))
    daemon.pause()
    for _ in 0..<5 { try client.send([1]) }
    shutdown(client.descriptor, CInt(direction))
    daemon.resume()
    let observer = try WireClient.observer(daemon)
    let isGone = try eventually { try observer.status().isAlone(1) }
    #expect(isGone)
    #expect(client.pendingError == 0)
    #expect(try client.receive()?.decode(OnRegisterEvent.self) != nil)
    if direction == SHUT_WR { #expect(try client.epitaph() == .invalidArgs) }
  }

  /// Clients that hang up at once, as many as are let in without waiting: one more than the queue is said to hold (unix_recvq_full,
  /// net/unix/af_unix.c).
  private static func fill(_ path: String) throws -> Int {
    let type = __socket_type(rawValue: SOCK_SEQPACKET.rawValue | SOCK_NONBLOCK.rawValue)
    var gone = 0
    while let client = try? SocketFile.connected(path, type) {
      _ = consume client
      gone += 1
    }
    return gone
  }

  @Test func `connections of all`() throws {
    let daemon = try Daemon(configuration: "total-connections = 3")
    var clients: [WireClient] = []
    let areServed = eventually {
      // Whoever looked whether the server answers may be connected still.
      clients = (0..<3).compactMap { _ in try? WireClient.heap(daemon) }
      return clients.count == 3
    }
    #expect(areServed)
    #expect(try WireClient(to: daemon.socket).epitaph() == .noResources)
    for client in clients { #expect(try client.refusal() == nil) }
  }

  @Test func `200 clients at once`() throws {
    let scene = try Scene(configuration: "user-connections = 500")
    do {
      let clients = try (0..<200).map { _ in try WireClient.heap(scene.daemon) }
      #expect(try scene.observer.status().connections.count == 202)
      var requests: [UInt32] = []
      for (index, client) in clients.enumerated() {
        let buffer = try client.allocate(UInt64(index))
        requests.append(try client.sendDelete(UInt64(index), buffer))
      }
      for (client, request) in zip(clients, requests) { try client.receiveDeleted(request) }
    }
    try scene.expectUnharmed()
  }
}
