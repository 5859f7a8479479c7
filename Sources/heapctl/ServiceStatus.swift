/// What a heap service tells of itself.
struct ServiceStatus: Decodable, Sendable {
  struct Quota: Decodable, Equatable, Sendable {
    let buffers: Int
    let bytes: UInt64
    let maxBuffers: Int
    let maxBytes: UInt64
  }

  struct User: Decodable, Sendable {
    let user: UInt32
    let connections: Int
    let quota: Quota
  }

  struct Connection: Decodable, Sendable {
    let id: Int
    let `protocol`: String
    let process: Int32
    let user: UInt32
    let requests: Int
    let waits: Int
    let quota: Quota
  }

  struct Buffer: Decodable, Sendable {
    let collection: UInt64
    let index: UInt64
    let bytes: UInt64
    let heap: String
    let user: UInt32
    /// Nil for a buffer of the server before this one.
    let process: Int32?
    /// Its connection is over.
    let orphan: Bool
  }

  struct Pool: Decodable, Sendable {
    let ready: Int
    let bytes: UInt64
    let hits, misses, refused: Int
  }

  let schemaVersion: Int
  let heap: String
  /// Whether clients' own memory is taken; nil of an older service, as the next three.
  let clientMemory: Bool?
  /// Nil where there is none.
  let pool: Pool?
  let quota: Quota
  /// Of all who come by the group of a socket's file, and of all others.
  let groupQuota, othersQuota: Quota?
  let orphans: Int
  let users: [User]
  let connections: [Connection]
  let buffers: [Buffer]
}
