public import LinuxHeaps
internal import SystemPackage

extension Policy {
  /// Reads a configuration file: lines of `key = value`, and comments that begin with `#`.
  ///
  /// Throws `HeapError.Code.invalidArgs` that names the line and what it may say.
  public init(file path: String) throws(HeapError) {
    let text: String
    do throws(Errno) { text = try SmallFile.read(path, limit: 64 << 10) } catch {
      throw HeapError(error, "read the configuration", at: path)
    }
    try self.init(parsing: text, from: path)
  }

  init(parsing text: String, from path: String) throws(HeapError) {
    self.init()
    var number = 0
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      number += 1
      let content = line.prefix { $0 != "#" }.trimmed
      if content.isEmpty { continue }
      let parts = content.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else {
        throw Self.fault("no '=' in '\(content)'", "write: key = value", path, number)
      }
      let (key, value) = (String(parts[0].trimmed), String(parts[1].trimmed))
      guard let setting = Self.settings[key] else {
        throw Self.fault(
          "no setting '\(key)'",
          "use one of: \(Self.settings.keys.sorted().joined(separator: " "))",
          path, number)
      }
      if let wanted = setting(&self, value) {
        throw Self.fault("'\(value)' is no value of \(key)", "write \(wanted)", path, number)
      }
    }
  }

  private static func fault(
    _ cause: String, _ fix: String, _ path: String, _ line: Int
  ) -> HeapError {
    HeapError(
      .invalidArgs, "read line \(line) of the configuration", at: path, cause: cause, fix: fix)
  }

  /// Takes a value, or answers what it would take.
  private typealias Setting = @Sendable (inout Policy, String) -> String?

  private static let settings: [String: Setting] = [
    "allow-users": { policy, value in
      let names = value.words
      let ids = names.compactMap { try? UserDatabase.user($0) }
      policy.access.users = Set(ids)
      return ids.count == names.count ? nil : "users that exist, by name or number"
    },
    "allow-groups": { policy, value in
      let names = value.words
      let ids = names.compactMap { try? UserDatabase.group($0) }
      policy.access.groups = Set(ids)
      return ids.count == names.count ? nil : "groups that exist, by name or number"
    },
    "connection-buffers": number { $0.limits.connection.buffers = $1 },
    "user-buffers": number { $0.limits.user.buffers = $1 },
    "total-buffers": number { $0.limits.total.buffers = $1 },
    "connection-bytes": bytes { $0.limits.connection.bytes = $1 },
    "user-bytes": bytes { $0.limits.user.bytes = $1 },
    "total-bytes": bytes { $0.limits.total.bytes = $1 },
    "connection-requests": number { $0.limits.requests = $1 },
    "connection-waits": number { $0.limits.waits = $1 },
    "user-connections": number { $0.limits.userConnections = $1 },
    "total-connections": number { $0.limits.totalConnections = $1 },
    "stall-seconds": number { $0.limits.stall = UInt64($1) * 1000 },
  ]

  private static func number(_ set: @escaping @Sendable (inout Policy, Int) -> Void) -> Setting {
    { policy, value in
      guard let number = Int(value), (1...1_000_000).contains(number) else {
        return "a number from 1 to 1000000"
      }
      set(&policy, number)
      return nil
    }
  }

  private static func bytes(_ set: @escaping @Sendable (inout Policy, UInt64) -> Void) -> Setting {
    { policy, value in
      guard let bytes = UInt64(byteSize: value) else {
        return "bytes; K, M and G are powers of 1024"
      }
      set(&policy, bytes)
      return nil
    }
  }
}

extension Substring {
  fileprivate var trimmed: Substring {
    var text = self
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }
}

extension String {
  fileprivate var words: [String] {
    split { $0.isWhitespace || $0 == "," }.map(String.init)
  }
}
