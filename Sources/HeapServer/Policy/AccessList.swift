internal import Glibc

/// Who may be served; the socket's own mode comes before it.
public struct AccessList: Hashable, Sendable {
  /// Both nil: whoever the socket's mode lets connect.
  var users: Set<uid_t>?
  var groups: Set<gid_t>?

  public init() {}

  /// The user that the server runs as is never kept out.
  func admits(_ peer: Peer) -> Bool {
    if users == nil && groups == nil { return true }
    return peer.user == geteuid() || users?.contains(peer.user) == true
      || groups.map { !$0.isDisjoint(with: peer.groups) } == true
  }
}
