import Foundation
import Glibc
import LinuxHeaps
import TestSupport
import Testing

/// What heapd must know before it serves anybody: where that cannot be had it ends, and says what it was.
@Suite struct StartTests {
  private static func expectEnd(
    _ message: String, through prefix: [String] = [],
    _ arguments: [String] = ["--heap", "memfd"], status: Int32 = 69,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let folder = try TemporaryFolder()
    let socket = folder.path + "/heap.sock"
    let words = prefix + [try Program.path("heapd"), "--socket", socket] + arguments
    // One that serves all the same is ended.
    let run = try ProgramRun(words: ["/usr/bin/timeout", "20"] + words)
    #expect(run.status == status, sourceLocation: sourceLocation)
    #expect(run.error.contains(message), "\(run.error)", sourceLocation: sourceLocation)
    for path in [socket, socket + ".observer"] {
      #expect(!FileManager.default.fileExists(atPath: path), sourceLocation: sourceLocation)
    }
  }

  @Test func `sockets that were made before the one that cannot be are removed`() throws {
    try Self.expectEnd(
      "heapd: listen (/nonexistent/metrics.sock)",
      ["--heap", "memfd", "--metrics-socket", "/nonexistent/metrics.sock"])
  }

  // MARK: Without /proc

  /// As in a chroot, or under init=/bin/sh; with files of one's own in its place.
  private static func withoutProc(_ files: String = "true") -> [String] {
    let script = """
      memory=$(cat /proc/meminfo) && mount -t tmpfs none /proc && \(files) && exec "$@"
      """
    return ["/usr/bin/unshare", "-m", "/bin/sh", "-c", script, "sh"]
  }

  @Test(.enabled(if: geteuid() == 0, "needs root, to take /proc away"))
  func `without proc it does not start`() throws {
    try Self.expectEnd(
      """
      heapd: read the machine's memory (/proc/meminfo): proc is not mounted there \
      [No such file or directory, errno 2]; NOT_SUPPORTED. To fix it: mount -t proc proc /proc
      """,
      through: Self.withoutProc())
    try Self.expectEnd(
      "heapd: read the machine's memory (/proc/meminfo): it has no MemTotal",
      through: Self.withoutProc("echo > /proc/meminfo"), status: 1)
    try Self.expectEnd(
      "no buffer would ever be free again",
      through: Self.withoutProc(#"printf %s "$memory" > /proc/meminfo"#))
  }

  /// Swift's runtime reads them from /proc, and gives none where it cannot.
  @Test(.enabled(if: geteuid() == 0, "needs root, to take /proc away"))
  func `without proc heapd's arguments are known all the same, and heapctl does not start`()
    throws
  {
    try Self.expectEnd(
      "heapd: unknown argument '--sockt'", through: Self.withoutProc(), ["--sockt"], status: 64)
    let run = try ProgramRun(
      words: Self.withoutProc() + [Program.path("heapctl"), "alloc", "--size", "lots"])
    #expect(run.status == 69)
    #expect(run.error.contains("(/proc/self/stat): No such file"), "\(run.error)")
  }

  // MARK: Calls that fail

  private static let strace = "/usr/bin/strace"
  /// ThreadSanitizer's runtime asks for the limits itself, and ends the process where it gets no answer.
  private static let hasThreadSanitizer =
    unsafe dlsym(UnsafeMutableRawPointer(bitPattern: 0), "__tsan_init") != nil
  private static let hasStrace = FileManager.default.isExecutableFile(atPath: strace)

  @Test(
    .enabled(if: Self.hasStrace, "needs strace"),
    arguments: ([
      ("prlimit64", nil, "heapd: start the server: Operation not permitted [errno 1]", 77),
      ("openat", "/dev/dma_heap", "heapd: list the kernel's heaps (/dev/dma_heap): ", 77),
      ("openat", "/proc/meminfo", "heapd: read the machine's memory (/proc/meminfo): ", 77),
      ("read", "/proc/meminfo", "heapd: read the machine's memory (/proc/meminfo): ", 77),
    ] as [(String, String?, String, Int32)]).filter { !hasThreadSanitizer || $0.0 != "prlimit64" })
  func `it does not start after a first call that failed`(
    _ call: String, _ path: String?, _ message: String, _ status: Int32
  ) throws {
    try Self.expectEnd(
      message, through: Self.failing(call, path), ["--heap", "auto"], status: status)
  }

  private static func failing(_ call: String, _ path: String?) -> [String] {
    [strace, "-qq", "-f", "-o", "/dev/null", "-e", "inject=\(call):error=EPERM"]
      + (path.map { ["-P", $0] } ?? [])
  }

  /// It would serve other memory than the machine's.
  @Test(.enabled(if: geteuid() == 0 && Self.hasStrace, "needs root and strace"))
  func `heaps that cannot be listed are not taken for none`() throws {
    let script = """
      mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mkdir /dev/dma_heap && exec "$@"
      """
    let devices = ["/usr/bin/unshare", "-m", "/bin/sh", "-c", script, "sh"]
    try Self.expectEnd(
      "heapd: list the kernel's heaps (/dev/dma_heap): Operation not permitted [errno 1]",
      through: devices + Self.failing("getdents64", "/dev/dma_heap"), ["--heap", "auto"],
      status: 77)
  }

  @Test func `a manager that it cannot reach is named`() throws {
    try Self.expectEnd(
      """
      heapd: reach the service manager (/nowhere/notify): No such file or directory [errno 2]; \
      NOT_FOUND. To fix it: unset NOTIFY_SOCKET  # where no manager listens
      """,
      through: ["/usr/bin/env", "NOTIFY_SOCKET=/nowhere/notify"])
  }

  // MARK: The configuration

  @Test func `a configuration that is a FIFO keeps it from starting, and holds nothing up`() throws
  {
    let folder = try TemporaryFolder()
    let path = folder.path + "/heapd.conf"
    #expect(unsafe mkfifo(path, 0o600) == 0)
    try Self.expectEnd(
      "heapd: read the configuration (\(path)): it is no regular file; INVALID_ARGS. "
        + "To fix it: name one", ["--heap", "memfd", "--config", path], status: 1)
  }

  @Test func `one that is a FIFO by the time of a SIGHUP changes nothing`() throws {
    let daemon = try Daemon(configuration: "connection-buffers = 1\n")
    let path = daemon.folder + "/heapd.conf"
    let client = try WireClient.heap(daemon)
    let kept = try client.allocate(0)
    unsafe unlink(path)
    #expect(unsafe mkfifo(path, 0o600) == 0)
    kill(daemon.identifier, SIGHUP)
    try daemon.expectLog("reload failed", "it is no regular file")
    #expect(try client.refusal(1) == .noResources)
    withExtendedLifetime(kept) {}
  }
}
