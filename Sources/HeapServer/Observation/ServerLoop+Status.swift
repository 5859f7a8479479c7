internal import LinuxHeaps
internal import SystemPackage

// What GetStatus tells: JSON, one object.

extension ServerLoop {
  func statusReport() -> String {
    let limits = policy.limits
    let counters = reclaimerCounters
    return JSON.object([
      ("schemaVersion", .number(1)),
      ("heap", .string(heapName)),
      ("quota", total(limits)),
      ("users", .array(users(limits))),
      ("connections", .array(connectionRows())),
      ("buffers", .array(bufferRows())),
      (
        "highWater",
        .array(
          metrics.highWater.map {
            .object([("heap", .string($0.heap)), ("bytes", .number($0.bytes))])
          })
      ),
      ("orphans", .number(UInt64(orphanCount))),
      (
        "reclaimer",
        .object([
          ("wakeups", .number(UInt64(counters.wakeups))),
          ("checks", .number(UInt64(counters.checks))),
          ("reclaimed", .number(UInt64(counters.reclaimed))),
        ])
      ),
    ]).text
  }

  private func total(_ limits: Limits) -> JSON {
    share(ledger.total, of: limits.total)
  }

  private func share(_ usage: Usage, of share: Limits.Share) -> JSON {
    .object([
      ("buffers", .number(UInt64(usage.buffers))),
      ("bytes", .number(usage.bytes)),
      ("maxBuffers", .number(UInt64(share.buffers))),
      ("maxBytes", .number(share.bytes)),
    ])
  }

  private func users(_ limits: Limits) -> [JSON] {
    let ids = Set(ledger.users.keys).union(userConnections.keys)
    return ids.sorted().map { user in
      .object([
        ("user", .number(UInt64(user))),
        ("connections", .number(UInt64(userConnections[user, default: 0]))),
        ("quota", share(ledger.users[user, default: Usage()], of: limits.user)),
      ])
    }
  }

  private func connectionRows() -> [JSON] {
    connections.values.sorted { $0.id < $1.id }.map { connection in
      .object([
        ("id", .number(connection.id)),
        ("protocol", .string(connection.face == .heap ? "Heap" : "Observer")),
        ("process", .number(UInt64(connection.client.peer.process))),
        ("user", .number(UInt64(connection.client.peer.user))),
        ("requests", .number(UInt64(connection.requests))),
        ("waits", .number(UInt64(connection.waits))),
        ("quota", share(connection.account.usage, of: policy.limits.connection)),
      ])
    }
  }

  private func bufferRows() -> [JSON] {
    let keys = ledger.charges.keys.sorted {
      ($0.bufferCollectionID, $0.bufferIndex) < ($1.bufferCollectionID, $1.bufferIndex)
    }
    return keys.compactMap { key in
      guard let charge = ledger.charges[key] else { return nil }
      return .object([
        ("collection", .number(key.bufferCollectionID)),
        ("index", .number(key.bufferIndex)),
        ("bytes", .number(charge.size)),
        ("heap", .string(charge.heap)),
        ("user", .number(UInt64(charge.user))),
        ("process", charge.client.map { .number(UInt64($0.peer.process)) } ?? .null),
        ("orphan", .bool(charge.isOrphan)),
      ])
    }
  }
}
