internal import Glibc
internal import LinuxHeaps

/// What the server holds at one moment. It is put into words elsewhere than on the event loop: with
/// thousands of buffers that takes a while.
struct Status: Sendable {
  struct UserRow {
    let id: uid_t
    let connections: Int
    let usage: Usage
  }

  struct ConnectionRow {
    let id: UInt64
    let face: Connection.Face
    let peer: Peer
    let requests: Int
    let waits: Int
    let usage: Usage
  }

  struct BufferRow {
    let key: BufferKey
    let size: UInt64
    let heap: String
    let user: uid_t
    /// Nil for a buffer of the server before this one.
    let process: pid_t?
    let isOrphan: Bool
  }

  let heap: String
  let limits: Limits
  let total: Usage
  let users: [UserRow]
  let connections: [ConnectionRow]
  let buffers: [BufferRow]
  let highWater: [(heap: String, bytes: UInt64)]
  let orphans: Int
  let reclaimer: Reclaimer.Counters
}
