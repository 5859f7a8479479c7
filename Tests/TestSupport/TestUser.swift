package import CHeapClient
import Glibc

/// Another user than root, who connects: the kernel notes the calling thread's user (unix(7)).
package struct TestUser: Sendable {
  /// Numbers that no machine gives to anybody.
  package let user: uid_t
  package var group: gid_t = 54_321
  package var supplementaryGroups: [gid_t] = []

  package init(user: uid_t, group: gid_t = 54_321, supplementaryGroups: [gid_t] = []) {
    self.user = user
    self.group = group
    self.supplementaryGroups = supplementaryGroups
  }

  package static let first = TestUser(user: 54_321)
  package static let second = TestUser(user: 54_322)

  /// Only root can become others.
  package static var isRoot: Bool { geteuid() == 0 }

  func connect(
    _ socket: CInt, _ address: UnsafePointer<sockaddr>, _ length: socklen_t
  ) -> CInt {
    unsafe CHeapClient_connect_as(
      user, group, supplementaryGroups, supplementaryGroups.count, socket, address, length)
  }
}
