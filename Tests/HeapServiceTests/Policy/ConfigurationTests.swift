import LinuxHeaps
import TestSupport
import Testing

@testable import HeapServer

@Suite struct ConfigurationTests {
  @Test func `every setting of the example file is one`() throws {
    let example = try SmallFile.read(Daemon.repository + "/systemd/heapd.conf", limit: 64 << 10)
    let settings = example.split(separator: "\n").filter { $0.hasPrefix("#") && $0.contains(" = ") }
      .map { $0.dropFirst() }.filter { !$0.hasPrefix(" ") && !$0.contains("allow") }
    #expect(settings.count >= 11)
    let policy = try Policy(parsing: settings.joined(separator: "\n"), from: "heapd.conf")
    // The example's lines are the defaults, but for those in bytes.
    #expect(policy.limits.requests == Limits().requests)
    #expect(policy.limits.connection.buffers == Limits().connection.buffers)
    #expect(policy.limits.user.buffers == Limits().user.buffers)
    #expect(policy.limits.total.buffers == Limits().total.buffers)
    #expect(policy.limits.waits == Limits().waits)
    #expect(policy.limits.stall == Limits().stall)
    #expect(policy.limits.userConnections == Limits().userConnections)
    #expect(policy.limits.totalConnections == Limits().totalConnections)
  }

  @Test func `comments, blank lines and units are taken`() throws {
    let policy = try Policy(
      parsing: "# all of it\n\n user-bytes = 2G # half\nallow-users=0, root\n", from: "x")
    #expect(policy.limits.user.bytes == 2 << 30)
    #expect(policy.access.users == [0])
  }

  /// What follows would be missing, and a list of users with it.
  @Test func `a file that is too long is refused`() throws {
    let folder = try TemporaryFolder()
    let text = String(repeating: "# nothing\n", count: 7_000) + "allow-users = root\n"
    let path = try folder.file("heapd.conf", text)
    let error = #expect(throws: HeapError.self) { try Policy(file: path) }
    #expect(
      "\(try #require(error))"
        == "read the configuration (\(path)): it is longer than 64 KiB; INVALID_ARGS. "
        + "To fix it: shorten it")
  }

  @Test(arguments: [
    (
      "user-bytes", "no '=' in 'user-bytes'", "write: key = value"
    ),
    (
      "user-bytes = 1M\nuser-bytes = 2M", "duplicate setting 'user-bytes'", "keep one of the lines"
    ),
    ("user-byte = 1", "unknown setting 'user-byte'", "use one of: allow-groups allow-users"),
    ("user-bytes = lots", "invalid value 'lots' for user-bytes", "powers of 1024"),
    ("user-buffers = 0", "invalid value '0' for user-buffers", "a number from 1 to 1000000"),
    (
      "allow-users = nobody-at-all", "invalid value 'nobody-at-all' for allow-users",
      "users that exist"
    ),
    (
      "allow-groups = root, no-such-group", "invalid value 'root, no-such-group' for allow-groups",
      "groups that exist, by name or number; 'no-such-group' does not"
    ),
  ])
  func `a fault names its file, line, cause and fix`(
    _ line: String, _ cause: String, _ fix: String
  ) throws {
    let error = #expect(throws: HeapError.self) {
      try Policy(parsing: "\n\(line)\n", from: "/etc/heapd.conf")
    }
    let text = "\(try #require(error))"
    let number = line.contains("\n") ? 3 : 2
    #expect(text.hasPrefix("read line \(number) of the configuration (/etc/heapd.conf): "))
    #expect(text.contains(cause) && text.contains(fix), "\(text)")
  }
}
