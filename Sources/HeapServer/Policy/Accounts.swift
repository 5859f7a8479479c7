internal import Glibc
internal import LinuxHeaps

/// The policy, and who has what of that which it limits. A buffer stays on its user's account until it is
/// reclaimed, whatever became of the connection.
final class Accounts {
  /// What a user has, with all connections together.
  final class User {
    let id: uid_t
    fileprivate(set) var connections = 0
    fileprivate(set) var usage = Usage()

    fileprivate init(_ id: uid_t) { self.id = id }
  }

  private(set) var policy: Policy
  /// Who has a connection or a buffer.
  private(set) var users: [uid_t: User] = [:]
  private(set) var total = Usage()
  private(set) var connections = 0

  init(_ policy: Policy) { self.policy = policy }

  var limits: Limits { policy.limits }

  /// For requests from now on.
  func change(_ policy: Policy) { self.policy = policy }

  private func user(_ id: uid_t) -> User {
    if let user = users[id] { return user }
    let user = User(id)
    users[id] = user
    return user
  }

  private func forgetIfGone(_ user: User) {
    if user.connections == 0 && user.usage.buffers == 0 { users[user.id] = nil }
  }

  // MARK: Connections

  func hasRoomForConnection(of user: uid_t) -> Bool {
    (users[user]?.connections ?? 0) < limits.userConnections
      && connections < limits.totalConnections
  }

  func connect(_ id: uid_t) -> User {
    let user = user(id)
    user.connections += 1
    connections += 1
    return user
  }

  func disconnect(_ user: User) {
    user.connections -= 1
    connections -= 1
    forgetIfGone(user)
  }

  // MARK: Buffers

  /// Charges a new buffer.
  ///
  /// - Returns: Nil where that was possible, or which quota is used up.
  func charge(_ size: UInt64, to connection: Connection) -> StaticString? {
    let limits = limits
    if !connection.usage.allows(size, within: limits.connection) {
      return "the connection's quota is used up"
    }
    if !connection.user.usage.allows(size, within: limits.user) {
      return "the user's quota is used up"
    }
    if !total.allows(size, within: limits.total) {
      return "the quota of all users together is used up"
    }
    connection.usage.add(size)
    connection.user.usage.add(size)
    total.add(size)
    return nil
  }

  /// Charges a buffer of the server before this one, within its user's limits or not: it exists.
  func takeOver(_ size: UInt64, of id: uid_t) -> User {
    let user = user(id)
    user.usage.add(size)
    total.add(size)
    return user
  }

  func refund(_ buffer: ServedBuffer) {
    buffer.connection?.usage.remove(buffer.size)
    buffer.user.usage.remove(buffer.size)
    total.remove(buffer.size)
    forgetIfGone(buffer.user)
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
