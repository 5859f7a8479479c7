internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import SystemPackage

/// Which permission bits of the socket's file let a peer connect (path_resolution(7)).
enum FileClass: Sendable {
  /// The file's owner, or root.
  case owner
  case group, other
}

/// Whose a socket's file is.
struct FileOwner: Sendable {
  let user: uid_t
  let group: gid_t

  fileprivate func fileClass(_ user: uid_t, _ groups: Set<gid_t>) -> FileClass {
    user == 0 || user == self.user ? .owner : groups.contains(group) ? .group : .other
  }
}

/// The peer's credentials at the time of connect(2) (`SO_PEERCRED`, unix(7)).
struct Peer: Sendable {
  let process: pid_t
  let user: uid_t
  let groups: Set<gid_t>
  let fileClass: FileClass

  /// - Parameter owner: Of the file that it connected to.
  init(of socket: BorrowedFD, through owner: FileOwner) throws(Errno) {
    let number = socket.rawValue
    var (process, user, group): (pid_t, uid_t, gid_t) = (0, 0, 0)
    _ = try call { unsafe CLinuxHeaps_peer(number, &process, &user, &group) }
    self.process = process
    self.user = user
    groups = Self.supplementaryGroups(number).union([group])
    fileClass = owner.fileClass(user, groups)
  }

  /// Empty where the kernel does not report them, or there are more than a thousand.
  private static func supplementaryGroups(_ socket: CInt) -> Set<gid_t> {
    unsafe withUnsafeTemporaryAllocation(of: gid_t.self, capacity: 1024) { groups in
      let count = unsafe CLinuxHeaps_peer_groups(socket, groups.baseAddress!, groups.count)
      return unsafe Set(groups.prefix(max(Int(count), 0)))
    }
  }

  /// Readable when the process has ended and let go of all that it held (pidfd_open(2)). Nil where it
  /// has ended before, or no descriptor is left.
  func processDescriptor(_ socket: BorrowedFD) -> SharedFD? {
    let number = socket.rawValue
    guard let pidfd = try? call({ CLinuxHeaps_peer_pidfd(number, process) }) else { return nil }
    return SharedFD(OwnedFD(adopting: pidfd))
  }
}
