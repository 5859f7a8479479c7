package import Glibc

/// What the machine's user database calls a number; the number where it has no name for it.
package enum AccountName {
  package static func user(_ id: uid_t) -> String {
    var entry = unsafe passwd()
    var result: UnsafeMutablePointer<passwd>?
    return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16 << 10) { buffer in
      unsafe getpwuid_r(id, &entry, buffer.baseAddress!, buffer.count, &result)
      return unsafe result == nil ? "\(id)" : String(cString: entry.pw_name)
    }
  }

  package static func group(_ id: gid_t) -> String {
    var entry = unsafe Glibc.group()
    var result: UnsafeMutablePointer<Glibc.group>?
    return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64 << 10) { buffer in
      unsafe getgrgid_r(id, &entry, buffer.baseAddress!, buffer.count, &result)
      return unsafe result == nil ? "\(id)" : String(cString: entry.gr_name)
    }
  }
}
