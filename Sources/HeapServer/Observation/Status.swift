internal import CLibrary
internal import HeapPool
internal import LinuxHeaps

/// What the server holds at one moment.
///
/// It is written as JSON on a worker and not on the event loop: with thousands of buffers that takes a while.
struct Status: Sendable {
  typealias User = (id: uid_t, connections: Int, usage: Usage)
  typealias Client = (
    connection: UInt64, interface: Connection.Interface, peer: Peer, requests: Int, waits: Int,
    usage: Usage
  )
  /// The process is nil for a buffer of the server before this one.
  typealias Buffer = (
    key: BufferKey, size: UInt64, heap: String, user: uid_t, process: pid_t?, isOrphan: Bool
  )

  let heap: String
  let nodes: [String]
  let takesClientMemory: Bool
  /// Whether the kernel's heaps take whom to charge; nil where that cannot be told.
  let kernelCharges: Bool?
  let limits: Limits
  let total: Usage
  /// Of all who come by the group of a socket's file, and of all others.
  let group, others: Usage
  let users: [User]
  let clients: [Client]
  let buffers: [Buffer]
  let highWater: [(heap: String, bytes: UInt64)]
  let orphans: Int
  /// Descriptors of clients that are to be closed.
  let unclosed: Int
  let reclaimer: Reclaimer.Counters
  /// Nil where there is none.
  let pool: PoolFigures?

  /// GetStatus's report.
  var json: JSON {
    let buffers = buffers.sorted {
      ($0.key.bufferCollectionID, $0.key.bufferIndex)
        < ($1.key.bufferCollectionID, $1.key.bufferIndex)
    }
    return [
      "schemaVersion": .number(1),
      "heap": .string(heap),
      "nodes": .array(nodes.map { .string($0) }),
      "clientMemory": .bool(takesClientMemory),
      "kernelCharges": kernelCharges.map { .bool($0) } ?? .null,
      "quota": quota(total, of: limits.total),
      "groupQuota": quota(group, of: limits.group),
      "othersQuota": quota(others, of: limits.group),
      "users": .array(users.sorted { $0.id < $1.id }.map(row)),
      "connections": .array(clients.sorted { $0.connection < $1.connection }.map(row)),
      "buffers": .array(buffers.map(row)),
      "highWater": .array(highWater.map { row(heap: $0.heap, bytes: $0.bytes) }),
      "orphans": .number(orphans),
      "unclosed": .number(unclosed),
      "reclaimer": [
        "wakeups": .number(reclaimer.wakeups),
        "checks": .number(reclaimer.checks),
        "reclaimed": .number(reclaimer.reclaimed),
      ],
      "pool": pool.map(row) ?? .null,
    ]
  }

  private func row(_ pool: PoolFigures) -> JSON {
    [
      "ready": .number(pool.readyBuffers),
      "bytes": .number(pool.bytes),
      "hits": .number(pool.hits),
      "misses": .number(pool.misses),
      "refused": .number(pool.refused),
    ]
  }

  private func row(_ user: User) -> JSON {
    [
      "user": .number(user.id),
      "connections": .number(user.connections),
      "quota": quota(user.usage, of: limits.user),
    ]
  }

  private func row(_ client: Client) -> JSON {
    [
      "id": .number(client.connection),
      "protocol": .string(client.interface == .heap ? "Heap" : "Observer"),
      "process": .number(client.peer.process),
      "user": .number(client.peer.user),
      "requests": .number(client.requests),
      "waits": .number(client.waits),
      "quota": quota(client.usage, of: limits.connection),
    ]
  }

  private func row(_ buffer: Buffer) -> JSON {
    [
      "collection": .number(buffer.key.bufferCollectionID),
      "index": .number(buffer.key.bufferIndex),
      "bytes": .number(buffer.size),
      "heap": .string(buffer.heap),
      "user": .number(buffer.user),
      "process": buffer.process.map { .number($0) } ?? .null,
      "orphan": .bool(buffer.isOrphan),
    ]
  }

  private func row(heap: String, bytes: UInt64) -> JSON {
    ["heap": .string(heap), "bytes": .number(bytes)]
  }

  private func quota(_ usage: Usage, of share: Limits.Share) -> JSON {
    [
      "buffers": .number(usage.buffers),
      "bytes": .number(usage.bytes),
      "maxBuffers": .number(share.buffers),
      "maxBytes": .number(share.bytes),
    ]
  }
}

/// A value to be written as JSON (RFC 8259); an object's members keep their order.
///
/// Written here because Foundation's encoder would be half of the daemon's resident memory.
indirect enum JSON: ExpressibleByDictionaryLiteral {
  case null
  case bool(Bool)
  case integer(UInt64)
  case string(String)
  case array([JSON])
  case object([(String, JSON)])

  init(dictionaryLiteral members: (String, JSON)...) { self = .object(members) }

  /// Of a number that is not negative.
  static func number(_ value: some BinaryInteger) -> JSON { .integer(UInt64(value)) }

  var text: String {
    var text = ""
    write(to: &text)
    return text
  }

  private func write(to text: inout String) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .integer(let value): text += String(value)
    case .string(let value): Self.quote(value, to: &text)
    case .array(let values):
      text += "["
      for (index, value) in values.enumerated() {
        if index > 0 { text += "," }
        value.write(to: &text)
      }
      text += "]"
    case .object(let members):
      text += "{"
      for (index, member) in members.enumerated() {
        if index > 0 { text += "," }
        Self.quote(member.0, to: &text)
        text += ":"
        member.1.write(to: &text)
      }
      text += "}"
    }
  }

  private static func quote(_ value: String, to text: inout String) {
    text += "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\u{0}"..<"\u{20}":
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
