package import Glibc

/// Processes that hold a buffer, as far as /proc shows them to this user (proc(5)).
package enum Holders {
  package struct Holder: Sendable, CustomStringConvertible {
    package let process: pid_t
    /// The program's name, `comm`.
    package let name: String
    package let descriptors: Int
    package let mappings: Int

    package var description: String {
      "process \(process) (\(name)): \(descriptors) descriptors, \(mappings) mappings"
    }
  }

  /// Every process but this one.
  package static func find(_ identity: VMOIdentity) -> [Holder] {
    let processes = ((try? SmallFile.entries(of: "/proc")) ?? []).compactMap { pid_t($0) }
    return processes.filter { $0 != getpid() }.sorted().compactMap { process in
      let descriptors = descriptorCount(process, identity)
      let mappings = mappingCount(process, identity)
      guard descriptors + mappings > 0 else { return nil }
      let name = (try? SmallFile.read("/proc/\(process)/comm")) ?? ""
      return Holder(
        process: process, name: String(name.prefix { $0 != "\n" }), descriptors: descriptors,
        mappings: mappings)
    }
  }

  private static func descriptorCount(_ process: pid_t, _ identity: VMOIdentity) -> Int {
    let folder = "/proc/\(process)/fd"
    return ((try? SmallFile.entries(of: folder)) ?? []).count { name in
      // Only what the link says is worth a look: other files can be slow to tell their status.
      guard let link = try? SmallFile.link("\(folder)/\(name)"),
        link.hasPrefix("/dmabuf:") || link.hasPrefix("/memfd:")
      else { return false }
      var status = stat()
      return unsafe stat("\(folder)/\(name)", &status) == 0 && VMOIdentity(status) == identity
    }
  }

  /// A line is `ADDRESSES RIGHTS OFFSET MAJOR:MINOR INODE PATH`, device numbers in base 16.
  private static func mappingCount(_ process: pid_t, _ identity: VMOIdentity) -> Int {
    guard let maps = try? SmallFile.read("/proc/\(process)/maps", limit: 4 << 20) else { return 0 }
    return maps.split(separator: "\n").count { line in
      let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
      guard fields.count > 4, UInt64(fields[4]) == identity.inode else { return false }
      let numbers = fields[3].split(separator: ":").compactMap { UInt32($0, radix: 16) }
      return numbers.count == 2 && UInt64(makedev(numbers[0], numbers[1])) == identity.device
    }
  }

  /// As glibc composes `st_dev` (makedev(3)).
  private static func makedev(_ major: UInt32, _ minor: UInt32) -> UInt64 {
    UInt64(major & 0xfff) << 8 | UInt64(major & ~0xfff) << 32 | UInt64(minor & 0xff)
      | UInt64(minor & ~0xff) << 12
  }
}
