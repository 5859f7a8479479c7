internal import Glibc
internal import SystemPackage

/// Names of users and groups (getpwnam(3), getgrnam(3)); a number stands for itself.
enum UserDatabase {
  static func user(_ name: String) throws(Errno) -> uid_t {
    if let number = uid_t(name) { return number }
    var entry = unsafe passwd()
    var result: UnsafeMutablePointer<passwd>?
    return try unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16 << 10) {
      (buffer) throws(Errno) in
      unsafe getpwnam_r(name, &entry, buffer.baseAddress!, buffer.count, &result)
      guard unsafe result != nil else { throw .noSuchFileOrDirectory }
      return unsafe entry.pw_uid
    }
  }

  static func group(_ name: String) throws(Errno) -> gid_t {
    if let number = gid_t(name) { return number }
    var entry = unsafe Glibc.group()
    var result: UnsafeMutablePointer<Glibc.group>?
    return try unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64 << 10) {
      (buffer) throws(Errno) in
      unsafe getgrnam_r(name, &entry, buffer.baseAddress!, buffer.count, &result)
      guard unsafe result != nil else { throw .noSuchFileOrDirectory }
      return unsafe entry.gr_gid
    }
  }
}
