package import CLibrary

/// What the machine's user database says of users and groups (getpwnam(3), getgrnam(3)).
package enum UserDatabase {
  /// The most that an entry may take; one that is longer counts as none.
  private static let longest = 64 << 10

  /// A user's name, or the number where it has none.
  package static func name(ofUser id: uid_t) -> String {
    var entry = unsafe passwd()
    var result: UnsafeMutablePointer<passwd>?
    return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: longest) { buffer in
      unsafe getpwuid_r(id, &entry, buffer.baseAddress!, buffer.count, &result)
      return unsafe result == nil ? "\(id)" : String(cString: entry.pw_name)
    }
  }

  /// A group's name, or the number where it has none.
  package static func name(ofGroup id: gid_t) -> String {
    var entry = unsafe CLibrary.group()
    var result: UnsafeMutablePointer<CLibrary.group>?
    return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: longest) { buffer in
      unsafe getgrgid_r(id, &entry, buffer.baseAddress!, buffer.count, &result)
      return unsafe result == nil ? "\(id)" : String(cString: entry.gr_name)
    }
  }

  /// The user of this name, or of this number, whether it has a name or not; nil where there is none.
  package static func user(_ name: String) -> uid_t? {
    if let number = uid_t(name) { return number }
    var entry = unsafe passwd()
    var result: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: longest)
    unsafe getpwnam_r(name, &entry, &buffer, longest, &result)
    return unsafe result == nil ? nil : entry.pw_uid
  }

  /// The group of this name, or of this number, whether it has a name or not; nil where there is none.
  package static func group(_ name: String) -> gid_t? {
    if let number = gid_t(name) { return number }
    var entry = unsafe CLibrary.group()
    var result: UnsafeMutablePointer<CLibrary.group>?
    var buffer = [CChar](repeating: 0, count: longest)
    unsafe getgrnam_r(name, &entry, &buffer, longest, &result)
    return unsafe result == nil ? nil : entry.gr_gid
  }
}
