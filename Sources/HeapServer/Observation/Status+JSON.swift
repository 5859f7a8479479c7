internal import LinuxHeaps

// What GetStatus tells: JSON, one object.

extension Status {
  var json: JSON {
    .object([
      ("schemaVersion", .number(1)),
      ("heap", .string(heap)),
      ("quota", share(total, of: limits.total)),
      ("users", .array(users.sorted { $0.id < $1.id }.map(row))),
      ("connections", .array(connections.sorted { $0.id < $1.id }.map(row))),
      ("buffers", .array(buffers.sorted { $0.order < $1.order }.map(row))),
      (
        "highWater",
        .array(
          highWater.map { .object([("heap", .string($0.heap)), ("bytes", .number($0.bytes))]) })
      ),
      ("orphans", .number(UInt64(orphans))),
      (
        "reclaimer",
        .object([
          ("wakeups", .number(UInt64(reclaimer.wakeups))),
          ("checks", .number(UInt64(reclaimer.checks))),
          ("reclaimed", .number(UInt64(reclaimer.reclaimed))),
        ])
      ),
    ])
  }

  private func share(_ usage: Usage, of share: Limits.Share) -> JSON {
    .object([
      ("buffers", .number(UInt64(usage.buffers))),
      ("bytes", .number(usage.bytes)),
      ("maxBuffers", .number(UInt64(share.buffers))),
      ("maxBytes", .number(share.bytes)),
    ])
  }

  private func row(_ user: UserRow) -> JSON {
    .object([
      ("user", .number(UInt64(user.id))),
      ("connections", .number(UInt64(user.connections))),
      ("quota", share(user.usage, of: limits.user)),
    ])
  }

  private func row(_ connection: ConnectionRow) -> JSON {
    .object([
      ("id", .number(connection.id)),
      ("protocol", .string(connection.face == .heap ? "Heap" : "Observer")),
      ("process", .number(UInt64(connection.peer.process))),
      ("user", .number(UInt64(connection.peer.user))),
      ("requests", .number(UInt64(connection.requests))),
      ("waits", .number(UInt64(connection.waits))),
      ("quota", share(connection.usage, of: limits.connection)),
    ])
  }

  private func row(_ buffer: BufferRow) -> JSON {
    .object([
      ("collection", .number(buffer.key.bufferCollectionID)),
      ("index", .number(buffer.key.bufferIndex)),
      ("bytes", .number(buffer.size)),
      ("heap", .string(buffer.heap)),
      ("user", .number(UInt64(buffer.user))),
      ("process", buffer.process.map { .number(UInt64($0)) } ?? .null),
      ("orphan", .bool(buffer.isOrphan)),
    ])
  }
}

extension Status.BufferRow {
  fileprivate var order: (UInt64, UInt64) { (key.bufferCollectionID, key.bufferIndex) }
}
