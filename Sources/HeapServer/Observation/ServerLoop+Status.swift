internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

// GetStatus.

extension ServerLoop {
  /// A report is a file, which lives on in its answer: who does not read gets so many.
  private static let mostUnreadReports = 4

  func reportStatus(_ connection: Connection, _ transaction: UInt32) {
    if connection.requests == 0 && connection.hasReadAll { connection.unreadReports = 0 }
    guard connection.unreadReports < Self.mostUnreadReports, !isOutOfDescriptors else {
      note(
        "status refused: earlier reports are not read, or the server's descriptors are used up",
        connection)
      return refuseStatus(connection, transaction, .noResources)
    }
    connection.unreadReports += 1
    connection.requests += 1
    let (id, status, mailbox) = (connection.id, self.status, self.mailbox)
    workers.run(in: Workers.Lane(id, of: .user(connection.client.peer.user))) {
      mailbox.post(.reported(connection: id, transaction: transaction, Self.report(status)))
    }
  }

  private static func report(_ status: Status) -> Result<Report, HeapError> {
    let text = Array(status.json.text.utf8)
    do throws(Errno) {
      let file = try Memfd.create("heapd:status", size: UInt64(text.count))
      try file.write(text)
      return .success(Report(file, size: UInt64(text.count)))
    } catch {
      return .failure(HeapError(error, "write the status"))
    }
  }

  func tellStatus(
    _ connection: Connection, _ transaction: UInt32, _ report: Result<Report, HeapError>
  ) {
    switch report {
    case .success(let report):
      GetStatusReply(.success(StatusReport(size: report.size))).encode(
        transactionID: transaction, into: &output)
      send(to: connection, passing: report.takeFile())
    case .failure(let error):
      log.error("status not told", metadata: ["error": "\(error)"])
      refuseStatus(connection, transaction, error.code)
    }
  }

  private func refuseStatus(
    _ connection: Connection, _ transaction: UInt32, _ status: HeapError.Code
  ) {
    GetStatusReply(.failure(status.rawValue)).encode(transactionID: transaction, into: &output)
    send(to: connection)
  }

  private var status: Status {
    let users = Set(ledger.users.keys).union(userConnections.keys)
    return Status(
      heap: heapName, limits: policy.limits, total: ledger.total,
      users: users.map {
        Status.UserRow(
          id: $0, connections: userConnections[$0, default: 0],
          usage: ledger.users[$0, default: Usage()])
      },
      connections: connections.values.map {
        Status.ConnectionRow(
          id: $0.id, face: $0.face, peer: $0.client.peer, requests: $0.requests, waits: $0.waits,
          usage: $0.account.usage)
      },
      buffers: ledger.charges.map { key, charge in
        Status.BufferRow(
          key: key, size: charge.size, heap: charge.heap, user: charge.user,
          process: charge.client?.peer.process, isOrphan: charge.isOrphan)
      },
      highWater: metrics.highWater, orphans: orphanCount, reclaimer: reclaimerCounters)
  }
}

/// A status in a file, on its way to the event loop.
final class Report: Sendable {
  let size: UInt64
  private let file: Guarded<OwnedFD?>

  init(_ file: consuming OwnedFD, size: UInt64) {
    self.file = Guarded(file)
    self.size = size
  }

  func takeFile() -> OwnedFD? { file.withLock { $0.take() } }
}

extension Connection {
  fileprivate var hasReadAll: Bool { SeqPacket.unread(socket.fd.rawValue) == 0 }
}
