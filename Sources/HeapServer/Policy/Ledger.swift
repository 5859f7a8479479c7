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

  /// What ran out.
  enum Refusal: CustomStringConvertible {
    case connection, user, total

    var description: String {
      switch self {
      case .connection: "the connection's quota is used up"
      case .user: "the user's quota is used up"
      case .total: "the quota of all users together is used up"
      }
    }
  }

  private(set) var charges: [BufferKey: Charge] = [:]
  private(set) var users: [uid_t: Usage] = [:]
  private(set) var total = Usage()

  /// Nil where it was added; the caller has seen to it that the key is free.
  mutating func add(
    _ key: BufferKey, _ size: UInt64, for connection: Connection, within limits: Limits
  ) -> Refusal? {
    let user = connection.client.peer.user
    if !connection.account.usage.allows(size, within: limits.connection) { return .connection }
    if !users[user, default: Usage()].allows(size, within: limits.user) { return .user }
    if !total.allows(size, within: limits.total) { return .total }
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
