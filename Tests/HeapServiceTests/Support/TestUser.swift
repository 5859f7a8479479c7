import CHeapPeer
import Glibc

/// Another user than root, who connects: the kernel notes the calling thread's user (unix(7)).
struct TestUser: Sendable {
  /// Numbers that no machine gives to anybody.
  let user: uid_t
  var group: gid_t = 54_321
  var supplementaryGroups: [gid_t] = []

  static let first = TestUser(user: 54_321)
  static let second = TestUser(user: 54_322)

  /// Only root can become others.
  static var isRoot: Bool { geteuid() == 0 }

  func connect(
    _ socket: CInt, _ address: UnsafePointer<sockaddr>, _ length: socklen_t
  ) -> CInt {
    unsafe CHeapPeer_connect_as(
      user, group, supplementaryGroups, supplementaryGroups.count, socket, address, length)
  }
}
