internal import CLibrary
internal import CLinuxHeaps
internal import SystemPackage

/// Who may open a device node.
public struct NodeStatus: Hashable, Sendable {
  /// The permission bits, e.g. 0o600.
  public let mode: UInt32
  package let userID: UInt32
  package let groupID: UInt32
  /// Whether this process may open it for reading, which is enough to allocate.
  public let isUsable: Bool
  /// `st_rdev`; nil for what is no character device.
  package let device: UInt64?
  /// What the group itself may do where there is an access control list (acl(5)), whose mask stands in `mode` in its place; nil where
  /// there is none.
  package let listedGroupMode: UInt32?

  /// What the group may do, as one digit of a mode.
  package var groupMode: UInt32 { listedGroupMode ?? mode >> 3 & 7 }

  /// Nil where there is no such node.
  package init?(_ path: String) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    mode = UInt32(status.st_mode) & 0o7777
    userID = status.st_uid
    groupID = status.st_gid
    isUsable = unsafe access(path, R_OK) == 0
    device = status.st_mode & S_IFMT == S_IFCHR ? UInt64(status.st_rdev) : nil
    let listed = unsafe CLinuxHeaps_listed_group_mode(path)
    listedGroupMode = listed < 0 ? nil : UInt32(listed) & mode >> 3
  }

  /// `MAJOR:MINOR`, as sysfs spells it: gnu_dev_major(3) and gnu_dev_minor(3), which are macros.
  package var deviceNumber: String? {
    device.map { device in
      let major = (device >> 8) & 0xfff | (device >> 32) & ~0xfff
      let minor = device & 0xff | (device >> 12) & ~0xff
      return "\(major):\(minor)"
    }
  }

  /// A user's name, or its number where it has none.
  public var owner: String { UserDatabase.name(ofUser: userID) }

  /// A group's name, or its number where it has none.
  public var group: String { UserDatabase.name(ofGroup: groupID) }
}

extension NodeStatus: CustomStringConvertible {
  /// The permission bits as chmod(1) takes them: `0660`.
  public var octalMode: String { Self.octal(mode) }

  /// With what the mode does not show.
  var withList: String {
    listedGroupMode == nil ? description : "\(description) with an access control list"
  }

  package static func octal(_ mode: UInt32) -> String {
    let octal = String(mode, radix: 8)
    return String(repeating: "0", count: max(0, 4 - octal.count)) + octal
  }

  /// As ls(1) would be read out: `root:video 0660`.
  public var description: String {
    "\(owner):\(group) \(octalMode)"
  }
}
