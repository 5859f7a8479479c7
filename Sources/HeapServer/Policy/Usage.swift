/// What someone has.
struct Usage: Hashable, Sendable {
  var buffers = 0
  /// Whole pages, in bytes.
  var bytes: UInt64 = 0

  func allows(_ size: UInt64, within share: Limits.Share) -> Bool {
    buffers < share.buffers && size <= share.bytes && bytes <= share.bytes - size
  }

  mutating func add(_ size: UInt64) {
    buffers += 1
    bytes += size
  }

  mutating func remove(_ size: UInt64) {
    buffers -= 1
    bytes -= size
  }
}

/// The usage of one connection; it outlives the connection, as its buffers do.
final class Account {
  var usage = Usage()
}
