import Foundation
import Glibc
import HeapPool
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

@testable import HeapServer

@Suite struct ConfigurationTests {
  @Test func `every setting of the example file is one`() throws {
    let example = try SmallFile.read(Daemon.repository + "/systemd/heapd.conf", limit: 64 << 10)
    let settings = example.split(separator: "\n").filter { $0.hasPrefix("#") && $0.contains(" = ") }
      .map { $0.dropFirst() }.filter {
        !$0.hasPrefix(" ") && !$0.contains("allow") && !$0.contains("quota-")
      }
    #expect(settings.count >= 11)
    let policy = try Policy(parsing: settings.joined(separator: "\n"), from: "heapd.conf")
    // The example's lines are the defaults, but for those in bytes.
    let limits = try Limits()
    #expect(policy.limits.requests == limits.requests)
    #expect(policy.limits.connection.buffers == limits.connection.buffers)
    #expect(policy.limits.user.buffers == limits.user.buffers)
    #expect(policy.limits.total.buffers == limits.total.buffers)
    #expect(policy.limits.waits == limits.waits)
    #expect(policy.limits.stall == limits.stall)
    #expect(policy.limits.userConnections == limits.userConnections)
    #expect(policy.limits.totalConnections == limits.totalConnections)
  }

  @Test func `a pool's bytes are taken off those of all`() throws {
    let policy = try Policy(
      parsing: """
        total-bytes = 1G
        pool-bytes = 64M
        pool-idle-seconds = 5
        pool-learns = off
        pool-ready = 3 x 8M contiguous, 16 x 64 KiB
        """, from: "x")
    #expect(policy.besidePool().limits.total.bytes == 960 << 20)
    #expect(policy.limits.total.bytes == 1 << 30)
    #expect(policy.pool.byteCount == 64 << 20)
    #expect(policy.pool.idleTime == .seconds(5))
    #expect(!policy.pool.learns)
    #expect(
      policy.pool.stock == [
        .init(byteCount: 8 << 20, isContiguous: true, count: 3),
        .init(byteCount: 64 << 10, count: 16),
      ])
    let error = #expect(throws: HeapError.self) {
      try Policy(parsing: "pool-bytes = 2G\ntotal-bytes = 2G", from: "x")
    }
    #expect(
      "\(try #require(error))".contains("pool-bytes, 2 GiB, leaves nothing of total-bytes, 2 GiB"))
  }

  @Test func `a reload that asks for a pool takes nothing off, and the log says why`() throws {
    let daemon = try Daemon(configuration: "total-bytes = 1G\n")
    try "total-bytes = 1G\npool-bytes = 512M\n".write(
      toFile: daemon.folder + "/heapd.conf", atomically: true, encoding: .utf8)
    kill(daemon.identifier, SIGHUP)
    try daemon.expectLog("there is no pool: pool-bytes takes effect at a restart")
    #expect(try WireClient.observer(daemon).status().quota.maxBytes == 1 << 30)
  }

  @Test(arguments: ["3 x", "x 8M", "0 x 8M", "3 x 8M secure", "3x8M", "257 x 4K"])
  func `a pool's stock is a number of sizes`(_ text: String) {
    #expect(throws: HeapError.self) { try Policy(parsing: "pool-ready = \(text)", from: "x") }
  }

  @Test func `users and groups with a quota are named as those that may connect`() throws {
    let policy = try Policy(
      parsing: "quota-users = root, 54321\nquota-groups = 0\n", from: "x")
    #expect(policy.quotas.users == [0, 54_321] && policy.quotas.groups == [0])
    #expect(policy.access == AccessList())
  }

  @Test func `comments, blank lines and units are taken`() throws {
    let policy = try Policy(
      parsing: "# all of it\n\n user-bytes = 2G # half\nallow-users=0, root\n", from: "x")
    #expect(policy.limits.user.bytes == 2 << 30)
    #expect(policy.access.users == [0])
  }

  /// All of a file that begins with a comment would be that comment.
  @Test func `lines may end with CR LF`() throws {
    let folder = try TemporaryFolder()
    let text = "# limits\r\n\r\nuser-bytes = 2G # half\r\nallow-users = root\r\n"
    let policy = try Policy(file: folder.file("heapd.conf", text))
    #expect(policy.limits.user.bytes == 2 << 30)
    #expect(policy.access.users == [0])
    let error = #expect(throws: HeapError.self) {
      try Policy(parsing: "# limits\r\nuser-bytes\r\n", from: "x")
    }
    #expect(
      "\(try #require(error))"
        == "read line 2 of the configuration (x): no '=' in 'user-bytes'; INVALID_ARGS. "
        + "To fix it: write: key = value")
  }

  @Test(arguments: [
    "# f\u{FC}r alle", "# \u{F0}\u{9F}\u{98} is three bytes, as what stands for it",
  ])
  func `what is no UTF-8 is said to be that`(_ latin: String) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/heapd.conf"
    let bytes = latin.unicodeScalars.map { UInt8($0.value) } + Array("\nevents = off\n".utf8)
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    let error = #expect(throws: HeapError.self) { try Policy(file: path) }
    #expect(
      "\(try #require(error))"
        == "read the configuration (\(path)): it is not UTF-8; INVALID_ARGS. "
        + "To fix it: save it as UTF-8")
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

  @Test(arguments: ["/dev/zero", "/dev", "fifo"])
  func `what is no regular file is refused, and not waited for`(_ file: String) throws {
    let folder = try TemporaryFolder()
    let path = file.hasPrefix("/") ? file : folder.path + "/" + file
    if path != file { #expect(unsafe mkfifo(path, 0o600) == 0) }
    let error = #expect(throws: HeapError.self) { try Policy(file: path) }
    #expect(
      "\(try #require(error))"
        == "read the configuration (\(path)): it is no regular file; INVALID_ARGS. To fix it: name one"
    )
  }

  /// It may have been cut at any place.
  @Test func `a file that changes while it is read is refused`() throws {
    let folder = try TemporaryFolder()
    let path = try folder.file("heapd.conf", "# as long as somebody else likes: ")
    let isOver = Guarded(false)
    defer { isOver.withLock { $0 = true } }
    try KernelThread.start("writer") {
      var length: off_t = 1000
      while !isOver.withLock({ $0 }) {
        unsafe truncate(path, length)
        length ^= 1
      }
    }
    var error: HeapError?
    let isRefused = eventually {
      do throws(HeapError) { _ = try Policy(file: path) } catch let fault { error = fault }
      return error != nil
    }
    #expect(isRefused)
    let text = "\(try #require(error))"
    #expect(text.contains("(\(path)): it changed while it was read; INVALID_ARGS"), "\(text)")
  }

  /// A limit of bytes is a part of it.
  @Test func `without the machine's memory there are no limits`() throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(
      atPath: folder.path + "/proc/self", withIntermediateDirectories: true)
    let files = MachineFiles(root: folder.path)
    func refusal() -> HeapError? {
      #expect(throws: HeapError.self) { try Limits(files: files) }
    }
    #expect(refusal()?.fix == "mount -t proc proc /proc")
    _ = try folder.file("proc/self/stat", "")
    #expect(refusal()?.cause == "this /proc shows processes alone (subset=pid)")
    _ = try folder.file("proc/meminfo", "MemFree: 1024 kB\n")
    #expect(refusal()?.cause == "it has no MemTotal")
  }

  @Test(arguments: [
    (
      "user-bytes", "no '=' in 'user-bytes'", "write: key = value"
    ),
    (
      "user-bytes = 1M\nuser-bytes = 2M", "duplicate setting 'user-bytes'", "keep one of the lines"
    ),
    (
      "user-bytes = 1M # half\rallow-users = root", "a carriage return within the line",
      "end lines with a line feed"
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
