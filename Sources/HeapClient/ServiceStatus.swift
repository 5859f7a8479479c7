/// What a heap service tells of itself.
package struct ServiceStatus: Decodable, Sendable {
  package struct Quota: Decodable, Equatable, Sendable {
    package let buffers: Int
    package let bytes: UInt64
    package let maxBuffers: Int
    package let maxBytes: UInt64
  }

  package struct User: Decodable, Sendable {
    package let user: UInt32
    package let connections: Int
    package let quota: Quota
  }

  package struct Connection: Decodable, Sendable {
    package let id: Int
    package let `protocol`: String
    package let process: Int32
    package let user: UInt32
    package let requests: Int
    package let waits: Int
    package let quota: Quota
  }

  package struct Buffer: Decodable, Sendable {
    package let collection: UInt64
    package let index: UInt64
    package let bytes: UInt64
    package let heap: String
    package let user: UInt32
    /// Nil for a buffer of the server before this one.
    package let process: Int32?
    /// Its connection is over.
    package let orphan: Bool
  }

  package let schemaVersion: Int
  package let heap: String
  package let quota: Quota
  /// Of all who come by the group of a socket's file, and of all others; nil of an older service.
  package let groupQuota, othersQuota: Quota?
  package let orphans: Int
  package let users: [User]
  package let connections: [Connection]
  package let buffers: [Buffer]
}
