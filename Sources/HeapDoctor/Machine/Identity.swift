internal import Glibc
internal import LinuxHeaps

/// Who asks: the credentials of this process, as /proc/self/status tells them (proc(5)).
struct Identity: Sendable {
  let user: UInt32
  let groups: Set<UInt32>
  private let capabilities: UInt64

  init(_ files: MachineFiles) {
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
  }

  var name: String { AccountName.user(user) }

  /// What the permission bits of a node say, capabilities(7) included. An access control list may
  /// say more.
  func mayRead(_ node: NodeStatus) -> Bool {
    let overrides: UInt64 = 1 << 1 | 1 << 2  // CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if capabilities & overrides != 0 { return true }
    if user == node.userID { return node.mode & 0o400 != 0 }
    if groups.contains(node.groupID) { return node.mode & 0o040 != 0 }
    return node.mode & 0o004 != 0
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
