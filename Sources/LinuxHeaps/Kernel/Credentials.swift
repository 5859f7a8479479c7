internal import CLibrary

/// Who asks: the credentials of this process, as /proc/self/status tells them (proc(5)).
package struct Credentials: Sendable {
  package let user: UInt32
  package let groups: Set<UInt32>
  private let capabilities: UInt64
  /// The ids that stat(2) shows for whatever this user namespace does not map (user_namespaces(7)); nil where all are mapped.
  private let unmappedUser: UInt32?
  private let unmappedGroup: UInt32?

  package init(_ files: MachineFiles) {
    var fields: [Substring: [Substring]] = [:]
    for line in (files.text("/proc/self/status") ?? "").split(separator: "\n") {
      guard let colon = line.firstIndex(of: ":") else { continue }
      fields[line[..<colon]] = line[line.index(after: colon)...].split { $0.isWhitespace }
    }
    // Real, effective, saved, file system: the last is the one that opens files.
    func fileSystemID(_ name: Substring) -> UInt32? { fields[name]?.last.flatMap { UInt32($0) } }
    user = fileSystemID("Uid") ?? geteuid()
    groups = Set(
      (fields["Groups"] ?? []).compactMap { UInt32($0) } + [fileSystemID("Gid") ?? getegid()])
    capabilities = fields["CapEff"]?.first.flatMap { UInt64($0, radix: 16) } ?? 0
    func unmapped(_ map: String, _ overflow: String) -> UInt32? {
      // All ids in one line, as in the first user namespace.
      guard let text = files.text("/proc/self/\(map)"), !text.holds("4294967295") else {
        return nil
      }
      return files.number("/proc/sys/kernel/\(overflow)").flatMap { UInt32(exactly: $0) } ?? 65534
    }
    unmappedUser = unmapped("uid_map", "overflowuid")
    unmappedGroup = unmapped("gid_map", "overflowgid")
  }

  package var name: String { UserDatabase.name(ofUser: user) }
  var hasName: Bool { name != "\(user)" }

  var isInUserNamespace: Bool { unmappedUser != nil || unmappedGroup != nil }

  /// A process without a map has this id itself, as everybody else has: it is nobody's.
  func hasUnmappedOwner(_ node: NodeStatus) -> Bool { node.userID == unmappedUser }
  func hasUnmappedGroup(_ node: NodeStatus) -> Bool { node.groupID == unmappedGroup }

  /// What the permission bits of a node say, capabilities(7) included, which count in a user namespace where it maps
  /// both owner and group. An access control list may say more: of one, what it gives the group itself is looked at.
  ///
  /// - Parameter bits: What it is to be opened for, as one digit of a mode.
  func mayOpen(_ node: NodeStatus, _ bits: UInt32 = 4) -> Bool {
    // CAP_DAC_OVERRIDE, and for reading, or searching a directory, CAP_DAC_READ_SEARCH.
    let overrides: UInt64 = bits & 2 == 0 ? 1 << 1 | 1 << 2 : 1 << 1
    let (isOwnerless, isGroupless) = (hasUnmappedOwner(node), hasUnmappedGroup(node))
    if capabilities & overrides != 0, !isOwnerless, !isGroupless { return true }
    if user == node.userID, !isOwnerless { return node.mode >> 6 & bits == bits }
    if groups.contains(node.groupID), !isGroupless { return node.groupMode & bits == bits }
    return node.mode & bits == bits
  }

  /// Whether the user database has this user in the group, which a process learns when its user logs in.
  func isMember(of group: UInt32) -> Bool {
    var count: CInt = 256
    let ids = unsafe withUnsafeTemporaryAllocation(of: gid_t.self, capacity: 256) { buffer in
      let found = unsafe getgrouplist(name, gid_t.max, buffer.baseAddress!, &count)
      return found < 0 ? [] : unsafe Array(buffer.prefix(Int(count)))
    }
    return ids.contains(group)
  }
}
