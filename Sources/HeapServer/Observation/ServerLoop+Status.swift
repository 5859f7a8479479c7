internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

// GetStatus.

/// A status in a file, which the event loop takes out: the worker that made it may hold this for longer.
typealias Report = (file: Guarded<OwnedFD?>, size: UInt64)

extension ServerLoop {
  /// A report is a file, which stays open in its unread answer.
  private static let mostUnreadReports = 4

  func reportStatus(_ connection: Connection, _ transaction: UInt32) {
    if connection.requests == 0 && connection.socket.fd.allIsRead { connection.unreadReports = 0 }
    guard connection.unreadReports < Self.mostUnreadReports, !isOutOfDescriptors else {
      note(
        "status refused: earlier reports are unread, or the server is out of descriptors",
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
      return .success((Guarded(file), UInt64(text.count)))
    } catch {
      return .failure(HeapError(error, "write the status"))
    }
  }

  func tellStatus(
    _ connection: Connection, _ transaction: UInt32, _ report: Result<Report, HeapError>
  ) {
    switch report {
    case .success(let report):
      guard let file = report.file.withLock({ $0.take() }) else { return }
      GetStatusReply(.success(StatusReport(size: report.size))).encode(
        transactionID: transaction, into: &output)
      send(to: connection, passing: SharedFD(file))
    case .failure(let error):
      log.error("status report failed", metadata: ["error": "\(error)"])
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
        ($0, userConnections[$0, default: 0], ledger.users[$0, default: Usage()])
      },
      clients: connections.values.map {
        ($0.id, $0.interface, $0.client.peer, $0.requests, $0.waits, $0.account.usage)
      },
      buffers: ledger.charges.map { key, charge in
        (key, charge.size, charge.heap, charge.user, charge.client?.peer.process, charge.isOrphan)
      },
      highWater: metrics.highWater, orphans: orphanCount, reclaimer: reclaimerCounters)
  }
}
