internal import Glibc
internal import LinuxHeaps

/// Who has which buffers. A buffer stays on its user's account until it is reclaimed, whatever became
/// of the connection.
struct Ledger {
  struct Charge {
    let size: UInt64
    let user: uid_t
    /// Nil for a buffer taken over from a server before this one.
    let account: Account?
    let client: Client?
    /// Empty until the allocation is done.
    var heap = ""
    /// Set where nothing but asking tells of the last close.
    var unreported: VMOIdentity?
    /// Stays after the connection went.
    var isOrphan: Bool { client?.isConnected != true }
  }

  private(set) var charges: [BufferKey: Charge] = [:]
  private(set) var users: [uid_t: Usage] = [:]
  private(set) var total = Usage()

  /// Charges a new buffer, whose key is free.
  ///
  /// - Returns: Nil where that was possible, or which quota is used up.
  mutating func add(
    _ key: BufferKey, _ size: UInt64, for connection: Connection, within limits: Limits
  ) -> String? {
    let user = connection.client.peer.user
    if !connection.account.usage.allows(size, within: limits.connection) {
      return "the connection's quota is used up"
    }
    if !users[user, default: Usage()].allows(size, within: limits.user) {
      return "the user's quota is used up"
    }
    if !total.allows(size, within: limits.total) {
      return "the quota of all users together is used up"
    }
    connection.account.usage.add(size)
    enter(
      key,
      Charge(size: size, user: user, account: connection.account, client: connection.client))
    return nil
  }

  /// A buffer of the server before this one, within its limits or not: it exists.
  mutating func takeOver(_ key: BufferKey, _ size: UInt64, of user: uid_t, heap: String) {
    enter(key, Charge(size: size, user: user, account: nil, client: nil, heap: heap))
  }

  private mutating func enter(_ key: BufferKey, _ charge: Charge) {
    users[charge.user, default: Usage()].add(charge.size)
    total.add(charge.size)
    charges[key] = charge
  }

  mutating func settle(_ key: BufferKey, heap: String, unreported: VMOIdentity?) {
    charges[key]?.heap = heap
    charges[key]?.unreported = unreported
  }

  mutating func remove(_ key: BufferKey) -> Charge? {
    guard let charge = charges.removeValue(forKey: key) else { return nil }
    charge.account?.usage.remove(charge.size)
    total.remove(charge.size)
    users[charge.user]?.remove(charge.size)
    if users[charge.user]?.buffers == 0 { users[charge.user] = nil }
    return charge
  }
}

/// What a connection, a user or all users have.
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
