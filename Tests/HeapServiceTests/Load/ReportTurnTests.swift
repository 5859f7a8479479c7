import Glibc
import HeapProtocol
import LinuxHeaps
import Logging
import SystemPackage
import TestSupport
import Testing

@testable import HeapServer

/// What a report tells of all buffers is on nobody's account until it is made.
@Suite struct ReportTurnTests {
  private final class Server {
    let mailbox: Mailbox
    let shared: Shared
    let connections: Connections
    let requests: ObserverRequests
    private(set) var snapshots = 0

    init() throws {
      mailbox = try Mailbox()
      shared = try Shared(
        Policy(), mailbox, Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      connections = Connections(shared)
      let buffers = ServedBuffers(
        shared, descriptorsPerBuffer: 1, try CloseReports(shared, nil), nil, connections)
      requests = try ObserverRequests(shared, buffers, connections)
    }

    deinit {
      connections.closeAll()
      shared.workers.finish()
      shared.disposer.finish()
    }

    /// Answers its other end.
    func connect() throws -> SharedFD {
      let (near, far) = try OddFile.socketPair()
      let socket = ClientSocket(
        accepted: try OddFile.duplicate(near.fd.rawValue).release(),
        through: FileOwner(user: 0, group: 0), shared.disposer)
      try connections.add(socket, .observer, #require(socket.peer), process: nil)
      return far
    }

    private func status() -> Status {
      snapshots += 1
      return Status(
        heap: "none", nodes: [], takesClientMemory: false, kernelCharges: nil,
        limits: shared.accounts.limits, total: Usage(), group: Usage(), others: Usage(), users: [],
        clients: [], buffers: [], highWater: [], orphans: 0, unclosed: 0,
        reclaimer: Reclaimer.Counters(), pool: nil)
    }

    private func serve(
      _ connection: Connection, _ header: MessageHeader, _ message: RawSpan,
      _ handles: consuming StrangerFDs
    ) {
      requests.serve(connection, header, message, handles, status: status)
    }

    func readAll() {
      for connection in Array(connections.open) { connections.read(connection, serve) }
    }

    func finishReports() {
      var mail: [Message] = []
      mailbox.take(into: &mail)
      for case .reported(let report) in mail { requests.finish(report, status: status) }
    }
  }

  @Test func `a user's reports are made one after the other, each of its own moment`() throws {
    let server = try Server()
    let clients = try (0..<3).map { _ in try server.connect() }
    // Half of the workers are for others.
    let gate = Gate()
    for lane in 1_000..<1_002 as Range<UInt64> {
      server.shared.workers.run(in: .init(lane, of: .user(geteuid()))) { gate.wait() }
    }
    for _ in 0..<4 {
      for client in clients {
        try WireClient.send(on: client.fd.rawValue, GoodMessage.getStatus.bytes, [])
      }
      server.readAll()
    }
    #expect(server.snapshots == 1)
    // Its turn is passed over.
    let gone = try #require(server.connections.open.map(\.id).max())
    server.connections.close(try #require(server.connections[gone]))
    gate.open()
    let areMade = eventually {
      server.finishReports()
      return server.connections.open.allSatisfy { $0.requests == 0 }
    }
    #expect(areMade)
    #expect(server.snapshots == 8 || server.snapshots == 9)
    for client in clients.prefix(2) {
      var reports = 0
      var bytes = [UInt8](repeating: 0, count: 4096)
      while unsafe recv(client.fd.rawValue, &bytes, bytes.count, CInt(MSG_DONTWAIT)) > 0 {
        reports += 1
      }
      #expect(reports == 4)
    }
  }
}
