internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// What the examinations look at: the running machine, or a tree of files that stands for one.
///
/// Of a tree only the files are looked at; nothing is allocated from its nodes. A tree's own /proc has to say
/// who asks: `/proc/self/status`.
package struct Machine: Sendable {
  let files: MachineFiles
  let release: KernelVersion
  let identity: Identity
  let configuration: KernelConfiguration?
  let heaps: [HeapNode]
  let rules: UdevRules
  /// What made the container that this machine is, which has its host's kernel and nodes of its own.
  let container: String?

  package init(root: String = "") {
    files = MachineFiles(root: root)
    release = KernelVersion(files)
    identity = Identity(files)
    configuration = KernelConfiguration(files, release: release)
    rules = UdevRules(files)
    heaps = HeapNode.all(files)
    container = Self.container(files)
  }

  private static func container(_ files: MachineFiles) -> String? {
    if files.exists("/.dockerenv") { return "Docker" }
    if files.exists("/run/.containerenv") { return "Podman" }
    // systemd's container interface; systemd writes it for every kind.
    return files.line("/run/systemd/container")
  }

  /// Whether its devices can be tried.
  var isRunning: Bool { files.root.isEmpty }
}

/// A release as `uname -r` shows it, and the two numbers that it begins with.
struct KernelVersion: Sendable {
  let text: String
  private let major: Int
  private let minor: Int

  init(_ files: MachineFiles) {
    text = files.line("/proc/sys/kernel/osrelease") ?? ""
    let numbers = text.split { !$0.isNumber }.prefix(2).map { Int($0) ?? 0 }
    major = numbers.first ?? 0
    minor = numbers.count > 1 ? numbers[1] : 0
  }

  /// False where the release is not told.
  func isBefore(_ major: Int, _ minor: Int) -> Bool {
    !text.isEmpty && (self.major, self.minor) < (major, minor)
  }
}

/// The files of a machine, under a root directory.
struct MachineFiles: Sendable {
  /// What stands before each path; empty for the running machine.
  let root: String

  func path(_ path: String) -> String { root + path }

  func text(_ path: String, limit: Int = 64 << 10) -> String? {
    try? SmallFile.read(root + path, limit: limit)
  }

  /// Without the newline at its end.
  func line(_ path: String) -> String? {
    text(path).map { String($0.prefix { $0 != "\n" }) }
  }

  func number(_ path: String) -> UInt64? { line(path).flatMap { UInt64($0) } }

  /// The names in a directory, none where there is no such directory.
  func entries(_ path: String) -> [String] { (try? SmallFile.entries(of: root + path)) ?? [] }

  func exists(_ path: String) -> Bool { unsafe access(root + path, F_OK) == 0 }

  /// Whether open(2) for reading works, and what it answers where not.
  func openingError(_ path: String) -> Errno? {
    do throws(Errno) {
      _ = try OwnedFD.open(root + path, O_RDONLY | O_NONBLOCK)
      return nil
    } catch {
      return error
    }
  }
}

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

  var name: String { UserDatabase.name(ofUser: user) }

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
