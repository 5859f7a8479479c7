internal import Glibc
internal import SystemPackage

/// Who may open a device node.
public struct NodeStatus: Hashable, Sendable {
  /// The permission bits, e.g. 0o600.
  public let mode: UInt32
  private let userID: uid_t
  private let groupID: gid_t
  /// Whether this process may open it for reading, which is enough to allocate.
  public let isUsable: Bool
  /// `st_rdev`; nil for what is no character device.
  let device: UInt64?

  /// Nil where there is no such node.
  init?(_ path: String) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    mode = UInt32(status.st_mode) & 0o7777
    userID = status.st_uid
    groupID = status.st_gid
    isUsable = unsafe access(path, R_OK) == 0
    device = status.st_mode & S_IFMT == S_IFCHR ? UInt64(status.st_rdev) : nil
  }

  /// A user's name, or its number where it has none.
  public var owner: String {
    let id = userID
    var entry = unsafe passwd()
    var result: UnsafeMutablePointer<passwd>?
    return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16 << 10) { buffer in
      unsafe getpwuid_r(id, &entry, buffer.baseAddress!, buffer.count, &result)
      return unsafe result == nil ? "\(id)" : String(cString: entry.pw_name)
    }
  }

  /// A group's name, or its number where it has none.
  public var group: String {
    let id = groupID
    var entry = unsafe Glibc.group()
    var result: UnsafeMutablePointer<Glibc.group>?
    return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64 << 10) { buffer in
      unsafe getgrgid_r(id, &entry, buffer.baseAddress!, buffer.count, &result)
      return unsafe result == nil ? "\(id)" : String(cString: entry.gr_name)
    }
  }
}

extension NodeStatus: CustomStringConvertible {
  /// The permission bits as chmod(1) takes them: `0660`.
  public var octalMode: String {
    let octal = String(mode, radix: 8)
    return String(repeating: "0", count: max(0, 4 - octal.count)) + octal
  }

  /// As ls(1) would be read out: `root:video 0660`.
  public var description: String {
    "\(owner):\(group) \(octalMode)"
  }

  /// What lets a user open it who now may not.
  var fix: String {
    mode & 0o040 != 0 && group != "root"
      ? "join the group: sudo usermod -aG \(group) $USER, then log in again"
      : "give the heaps a group: install the udev rule of this package, or run as root"
  }
}
