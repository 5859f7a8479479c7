internal import CLibrary
internal import HeapPool
public import LinuxHeaps
internal import SystemPackage

extension Policy {
  /// Reads a configuration file: lines of `key = value`, and comments that begin with `#`.
  ///
  /// Waits for nobody: what is no regular file, or is being written, is refused.
  ///
  /// - Parameter path: Of the file.
  /// - Throws: `invalidArgs` with the line's number and what it may say, or the code of the error with which
  ///   the file cannot be read.
  public init(file path: String) throws(HeapError) {
    try self.init(parsing: try Self.text(of: path), from: path)
  }

  private static func text(of path: String) throws(HeapError) -> String {
    let operation = "read the configuration"
    let limit: off_t = 64 << 10
    func fault(_ cause: String, _ fix: String) -> HeapError {
      HeapError(.invalidArgs, operation, at: path, cause: cause, fix: fix)
    }
    let (before, bytes, after): (stat, [UInt8], stat)
    do throws(Errno) {
      // Without O_NONBLOCK a FIFO is opened when somebody writes to it.
      let file = try OwnedFD.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
      before = try file.status()
      guard before.st_mode & S_IFMT == S_IFREG else { throw .invalidArgument }
      bytes = try SmallFile.bytes(of: file, limit: Int(limit) + 1)
      after = try file.status()
    } catch .invalidArgument {
      throw fault("it is no regular file", "name one")
    } catch {
      throw HeapError(
        error, operation, at: path,
        fix: "name a file that this user may read, or leave --config out")
    }
    guard max(before.st_size, off_t(bytes.count)) <= limit else {
      throw fault("it is longer than \(UInt64(limit).asByteCount)", "shorten it")
    }
    // What follows would be missing, and a list of users with it.
    guard bytes.count == before.st_size, before.st_size == after.st_size,
      before.st_mtim.tv_sec == after.st_mtim.tv_sec, before.st_mtim.tv_nsec == after.st_mtim.tv_nsec
    else {
      throw fault("it changed while it was read", "write another file and rename it: rename(2)")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw fault("it is not UTF-8", "save it as UTF-8")
    }
    return text
  }

  init(parsing text: String, from path: String) throws(HeapError) {
    try self.init()
    var number = 0
    var seen: Set<String> = []
    for line in text.lines {
      number += 1
      // Editors take CR LF for a line's end, and some a CR alone: what they show below a comment would be part of it here.
      let line = line.last == "\r" ? line.dropLast() : line
      guard !line.utf8.contains(UInt8(ascii: "\r")) else {
        throw Self.fault(
          "a carriage return within the line", "end lines with a line feed", path, number)
      }
      let content = line.prefix { $0 != "#" }.trimmed
      if content.isEmpty { continue }
      let parts = content.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else {
        throw Self.fault("no '=' in '\(content)'", "write: key = value", path, number)
      }
      let (key, value) = (String(parts[0].trimmed), String(parts[1].trimmed))
      guard let setting = Self.settings[key] else {
        throw Self.fault(
          "unknown setting '\(key)'",
          "use one of: \(Self.settings.keys.sorted().joined(separator: " "))",
          path, number)
      }
      guard seen.insert(key).inserted else {
        throw Self.fault("duplicate setting '\(key)'", "keep one of the lines", path, number)
      }
      do throws(InvalidValue) { try setting(&self, value) } catch {
        throw Self.fault(
          "invalid value '\(value)' for \(key)", "write \(error.expected)", path, number)
      }
    }
    guard pool.byteCount < limits.total.bytes else {
      throw HeapError(
        .invalidArgs, "read the configuration", at: path,
        cause: "pool-bytes, \(pool.byteCount.asByteCount), leaves nothing of total-bytes, "
          + "\(limits.total.bytes.asByteCount)",
        fix: "lower the one or raise the other")
    }
  }

  private static func fault(
    _ cause: String, _ fix: String, _ path: String, _ line: Int
  ) -> HeapError {
    HeapError(
      .invalidArgs, "read line \(line) of the configuration", at: path, cause: cause, fix: fix)
  }

  private struct InvalidValue: Error {
    /// What the setting takes instead.
    let expected: String
  }

  private typealias Setting = @Sendable (inout Policy, String) throws(InvalidValue) -> Void

  private static let settings: [String: Setting] = [
    "allow-users": list("users", UserDatabase.user) { $0.access.users = $1 },
    "allow-groups": list("groups", UserDatabase.group) { $0.access.groups = $1 },
    "connection-buffers": number { $0.limits.connection.buffers = $1 },
    "user-buffers": number { $0.limits.user.buffers = $1 },
    "group-buffers": number { $0.limits.group.buffers = $1 },
    "total-buffers": number { $0.limits.total.buffers = $1 },
    "connection-bytes": bytes { $0.limits.connection.bytes = $1 },
    "user-bytes": bytes { $0.limits.user.bytes = $1 },
    "group-bytes": bytes { $0.limits.group.bytes = $1 },
    "total-bytes": bytes { $0.limits.total.bytes = $1 },
    "connection-requests": number { $0.limits.requests = $1 },
    "connection-waits": number { $0.limits.waits = $1 },
    "user-waits": number { $0.limits.userWaits = $1 },
    "user-connections": number { $0.limits.userConnections = $1 },
    "group-connections": number { $0.limits.groupConnections = $1 },
    "total-connections": number { $0.limits.totalConnections = $1 },
    "events": onOrOff { $0.hearsCloses = $1 },
    "pool-bytes": { (policy, value) throws(InvalidValue) in
      // None.
      if value == "0" { return policy.pool.byteCount = 0 }
      try bytes { $0.pool.byteCount = $1 }(&policy, value)
    },
    "pool-idle-seconds": number { $0.pool.idleTime = .seconds($1) },
    "pool-learns": onOrOff { $0.pool.learns = $1 },
    "pool-ready": { (policy, value) throws(InvalidValue) in
      policy.pool.stock = try value.split(separator: ",").map { text throws(InvalidValue) in
        try stock(text.trimmed)
      }
    },
    "stall-seconds": number { $0.limits.stall = UInt64($1) * 1000 },
    "quota-users": list("users", UserDatabase.user) { $0.quotas.users = $1 },
    "quota-groups": list("groups", UserDatabase.group) { $0.quotas.groups = $1 },
  ]

  /// `COUNT x SIZE [contiguous]`.
  private static func stock(_ text: Substring) throws(InvalidValue) -> PoolSettings.Stock {
    var words = text.split(separator: " ")
    let isContiguous = words.last == "contiguous"
    if isContiguous { words.removeLast() }
    guard words.count >= 3, words[1] == "x", let count = Int(words[0]), (1...256).contains(count),
      let bytes = UInt64(byteSize: words[2...].joined(separator: " "))
    else {
      throw InvalidValue(expected: "COUNT x SIZE [contiguous], ..., as 3 x 8M contiguous, 16 x 64K")
    }
    return PoolSettings.Stock(byteCount: bytes, isContiguous: isContiguous, count: count)
  }

  private static func list(
    _ what: String, _ find: @escaping @Sendable (String) -> UInt32?,
    _ set: @escaping @Sendable (inout Policy, Set<UInt32>) -> Void
  ) -> Setting {
    { (policy, value) throws(InvalidValue) in
      var ids: Set<UInt32> = []
      for name in value.split(whereSeparator: { $0.isWhitespace || $0 == "," }) {
        guard let id = find(String(name)) else {
          throw InvalidValue(
            expected: "\(what) that exist, by name or number; '\(name)' does not")
        }
        ids.insert(id)
      }
      set(&policy, ids)
    }
  }

  private static func onOrOff(_ set: @escaping @Sendable (inout Policy, Bool) -> Void) -> Setting {
    { (policy, value) throws(InvalidValue) in
      guard value == "on" || value == "off" else { throw InvalidValue(expected: "on or off") }
      set(&policy, value == "on")
    }
  }

  private static func number(_ set: @escaping @Sendable (inout Policy, Int) -> Void) -> Setting {
    { (policy, value) throws(InvalidValue) in
      guard let number = Int(value), (1...1_000_000).contains(number) else {
        throw InvalidValue(expected: "a number from 1 to 1000000")
      }
      set(&policy, number)
    }
  }

  private static func bytes(_ set: @escaping @Sendable (inout Policy, UInt64) -> Void) -> Setting {
    { (policy, value) throws(InvalidValue) in
      guard let bytes = UInt64(byteSize: value) else {
        throw InvalidValue(expected: "bytes; K, M and G are powers of 1024")
      }
      set(&policy, bytes)
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
