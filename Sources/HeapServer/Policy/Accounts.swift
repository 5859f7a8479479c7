internal import CLibrary
internal import LinuxHeaps

/// The policy, and who has what of that which it limits. A buffer stays on its user's account until it is
/// reclaimed, whatever became of the connection.
final class Accounts {
  /// What a user or several have, with all connections together.
  class Account {
    fileprivate(set) var connections = 0
    fileprivate(set) var usage = Usage()
  }

  final class User: Account {
    let id: uid_t
    /// Those of GetStatus that somebody keeps.
    fileprivate var reports = 0
    /// Answers of all its connections that wait for a buffer's end.
    fileprivate var waits = 0
    /// Buffers of its that the manager keeps.
    fileprivate var stored = 0
    /// When its buffers may be looked at again for want of room (`ServedBuffers`).
    var nextLookForRoom = MonotonicTime(nanoseconds: 0)

    fileprivate init(_ id: uid_t) { self.id = id }
  }

  private(set) var policy: Policy
  /// Who has a connection or a buffer.
  private(set) var users: [uid_t: User] = [:]
  let all = Account()
  /// All who come by the group of a socket's file, and all whom only its mode for others lets in.
  let group = Account()
  let others = Account()
  /// Buffers that the manager keeps.
  private var stored = 0

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

  /// Nil for who owns the sockets: it could take them away.
  private func account(of fileClass: FileClass) -> Account? {
    switch fileClass {
    case .owner: nil
    case .group: group
    case .other: others
    }
  }

  // MARK: Connections

  func hasRoomForConnection(of peer: Peer) -> Bool {
    let (limits, connections) = (limits, users[peer.user]?.connections ?? 0)
    guard connections < limits.userConnections, all.connections < limits.totalConnections else {
      return false
    }
    guard let account = account(of: peer.fileClass) else { return true }
    return account.connections < limits.groupConnections
      && Limits.leavesHalf(
        of: limits.totalConnections, 1, to: connections, besides: all.connections)
  }

  func connect(_ peer: Peer) -> User {
    let user = user(peer.user)
    user.connections += 1
    account(of: peer.fileClass)?.connections += 1
    all.connections += 1
    return user
  }

  func disconnect(_ connection: Connection) {
    connection.user.connections -= 1
    account(of: connection.peer.fileClass)?.connections -= 1
    all.connections -= 1
    forgetIfGone(connection.user)
  }

  // MARK: Answers that wait

  /// A quarter of a user's is for deletions: what a program asks cannot end another's connection by that.
  func hasRoomToWait(_ connection: Connection, forDeletion: Bool = false) -> Bool {
    connection.waits < limits.waits
      && connection.user.waits < (forDeletion ? limits.userWaits : limits.userWaits / 4 * 3)
  }

  func wait(_ connection: Connection, _ change: Int) {
    connection.waits += change
    connection.user.waits += change
  }

  // MARK: The manager's store

  /// Takes a place in a store of so many.
  ///
  /// - Returns: False where there is none for the user: half are kept for those that have few.
  func takeStorePlace(for connection: Connection, of room: Int) -> Bool {
    guard stored < room,
      connection.peer.fileClass == .owner
        || Limits.leavesHalf(of: room, 1, to: connection.user.stored, besides: stored)
    else { return false }
    takeStorePlace(for: connection.user)
    return true
  }

  func takeStorePlace(for user: User) {
    user.stored += 1
    stored += 1
  }

  func leaveStorePlace(of user: User) {
    user.stored -= 1
    stored -= 1
  }

  // MARK: Buffers

  /// Charges a new buffer, or a report.
  ///
  /// A user's first report tells what is used up, so it needs no more than room in what all have, and that of root or the
  /// sockets' owner not even that.
  /// - Returns: Nil where that was possible, or which quota is used up.
  func charge(
    _ size: UInt64, to connection: Connection, isReport: Bool = false
  ) -> StaticString? {
    let (limits, user) = (limits, connection.user)
    let isFirst = isReport && user.reports == 0
    let account = account(of: connection.peer.fileClass)
    if !isFirst {
      if !connection.usage.allows(size, within: limits.connection) {
        return "the connection's quota is used up"
      }
      if !user.usage.allows(size, within: limits.user) { return "the user's quota is used up" }
    }
    if !isFirst || account != nil, !all.usage.allows(size, within: limits.total) {
      return "the quota of all users together is used up"
    }
    if let account {
      if !account.usage.allows(size, within: limits.group) {
        return "the quota of all who come by the socket's group, or of all others, is used up"
      }
      if !isFirst, !leavesHalf(size, user) {
        return "half of the quota of all users is kept for those that have little"
      }
      account.usage.add(size)
    }
    connection.usage.add(size)
    user.usage.add(size)
    all.usage.add(size)
    if isReport { user.reports += 1 }
    return nil
  }

  private func leavesHalf(_ size: UInt64, _ user: User) -> Bool {
    let (total, own, all) = (limits.total, user.usage, all.usage)
    return Limits.leavesHalf(of: total.buffers, 1, to: own.buffers, besides: all.buffers)
      && (size == 0
        || Limits.leavesHalf(
          of: total.bytes, size, to: own.bytes, besides: all.bytes, atLeast: pageSize))
  }

  /// Charges a buffer of the server before this one, within its user's limits or not: it exists. How its user came is not known any
  /// more; the group is what most come by.
  func takeOver(_ size: UInt64, of id: uid_t) -> User {
    let user = user(id)
    user.usage.add(size)
    inheritedAccount(of: id)?.usage.add(size)
    all.usage.add(size)
    return user
  }

  private func inheritedAccount(of id: uid_t) -> Account? {
    id == 0 || id == geteuid() ? nil : group
  }

  func refund(_ buffer: ServedBuffer) {
    if let connection = buffer.connection {
      connection.usage.remove(buffer.charge)
      account(of: connection.peer.fileClass)?.usage.remove(buffer.charge)
    } else {
      inheritedAccount(of: buffer.user.id)?.usage.remove(buffer.charge)
    }
    buffer.user.usage.remove(buffer.charge)
    if buffer.isReport { buffer.user.reports -= 1 }
    all.usage.remove(buffer.charge)
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
