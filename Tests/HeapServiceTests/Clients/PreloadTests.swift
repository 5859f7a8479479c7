import Foundation
import HeapClient
import LinuxHeaps
import TestSupport
import Testing

private let library = "liblinuxheaps-preload.so"
private var isBuilt: Bool {
  (try? Program.path(library)).map { FileManager.default.fileExists(atPath: $0) } ?? false
}

/// Programs that know the kernel's heaps alone, with the service's buffers: `heapctl run` and liblinuxheaps-preload.so.
@Suite(
  .serialized, .enabled(if: isBuilt, "needs what `make ship` builds"))
struct PreloadTests {
  private let daemon: Daemon
  /// Tests/Preload/user.c.
  private let user: String

  init() throws {
    daemon = try Daemon()
    user = try Self.compiled(in: daemon)
  }

  private static func compiled(in daemon: Daemon) throws -> String {
    let run = try ProgramRun(words: [
      Daemon.repository + "/Tests/Preload/build.sh", daemon.folder,
    ])
    try #require(run.status == 0, "\(run.error)")
    return daemon.folder + "/user"
  }

  private func run(_ words: String...) throws -> ProgramRun {
    try ProgramRun("heapctl", ["run", "--socket", daemon.socket] + words)
  }

  @Test func `a program allocates in every way that the kernel has`() throws {
    // Also where this machine has heaps and this user may open them.
    let run = try run(
      "--always", "--", "/usr/bin/env", "MEMORY_IS_CHECKED=1", "FOLDER_IS_CLOSED=1", user, "system")
    #expect(run.error == "")
    let lines = run.output.split(separator: "\n")
    #expect(lines.count > 50)
    #expect(lines.filter { !$0.hasPrefix("pass  ") } == [])
    #expect(run.status == 0)
    let heap = try RemoteHeap(socket: daemon.socket)
    #expect(try eventually { try ServerStatus(of: heap).quota.buffers == 0 })
    #expect(!daemon.log.contains(" error "), "\(daemon.log)")
  }

  @Test func `the service's socket may be reached by another path than its own`() throws {
    let link = daemon.folder + "/link"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: daemon.folder)
    let run = try ProgramRun(words: [
      "/usr/bin/env", "LD_PRELOAD=" + (try Program.path(library)),
      "LINUXHEAPS_PRELOAD=always:\(link)/heap.sock", "MEMORY_IS_CHECKED=1", "FOLDER_IS_CLOSED=1",
      user, "system",
    ])
    #expect(run.output.split(separator: "\n").filter { !$0.hasPrefix("pass  ") } == [])
    #expect(run.output.contains("pass  they leave no socket\n"))
    #expect(run.status == 0)
  }

  @Test(.enabled(if: geteuid() == 0, "needs root, for a node"))
  func `always holds for links to nodes`() throws {
    let script = """
      mount -t tmpfs none "$0" && mkdir "$0/dma_heap" &&
      for file in null dma_heap/system; do : > "$0/$file" && mount --bind /dev/null "$0/$file"; done &&
      mount --rbind "$0" /dev && exec "$@"
      """
    let (dev, link) = (daemon.folder + "/dev", daemon.folder + "/link")
    try FileManager.default.createDirectory(atPath: dev, withIntermediateDirectories: false)
    try FileManager.default.createSymbolicLink(
      atPath: link, withDestinationPath: "/dev/dma_heap/system")
    let words = ["unshare", "--mount", "sh", "-c", script, dev, try Program.path("heapctl"), "run"]
    let program = [
      "sh", "-c", "for file; do readlink /proc/self/fd/3 3<> $file; done", "sh", link,
      "/dev/dma_heap/../dma_heap/system", "/dev/null",
    ]
    for (options, place) in [
      ([], "/dev/dma_heap/system"), (["--always"], "/memfd:dma_heap:system (deleted)"),
    ] {
      let run = try ProgramRun(
        words: ["/usr/bin/env"] + words + ["--socket", daemon.socket] + options + ["--"] + program)
      #expect(run.output == "\(place)\n\(place)\n/dev/null\n", "\(run.error)")
    }
  }

  @Test(.enabled(if: geteuid() == 0, "needs root, for namespaces"))
  func `a child with its parent's number makes a connection of its own`() throws {
    let run = try run("--always", "--", "unshare", "--pid", "--fork", user, "system", "nested")
    #expect(run.output == "pass  two processes of one number\n")
    #expect(run.status == 0, "\(run.error)")
  }

  /// The service has a second socket, whose name is longer.
  @Test func `a path that is too long for both of the service's sockets is refused`() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/" + String(repeating: "s", count: 105 - folder.path.utf8.count)
    let service = try MessageListener(at: path)
    let run = try ProgramRun("heapctl", ["run", "--socket", path, "--", "true"])
    let cause = "the path of a socket has 1 to 107 bytes (unix(7)), this one 115"
    #expect(run.status == 1 && run.error.contains(cause), "\(run)")
    withExtendedLifetime(service) {}
  }

  /// Of a folder that is there the library asks nobody.
  @Test(
    .enabled(if: geteuid() == 0, "needs root, for a machine without heaps"),
    arguments: [100, 120])
  func `a path that is too long is no other socket's`(_ length: Int) throws {
    let folder = try TemporaryFolder()
    let other = try MessageListener(at: folder.path + "/.observer")
    let path = "/" + String(repeating: "s", count: length - 1)
    let run = try ProgramRun(words: [
      "/usr/bin/unshare", "--mount", "/bin/sh", "-c", "mount -t tmpfs none /dev && exec \"$@\"",
      "sh",
      "/usr/bin/env", "-C", folder.path, "LD_PRELOAD=" + (try Program.path(library)),
      "LINUXHEAPS_PRELOAD=always:\(path)", "/bin/ls", "/dev/dma_heap",
    ])
    #expect(run.output == "")
    let isAsked = other.withDescriptor { number in
      var event = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
      return unsafe poll(&event, 1, 0) != 0
    }
    #expect(!isAsked)
  }

  @Test func `programs of the system find the heap`() throws {
    #expect(try run("--", "ls", "/dev/dma_heap").output.contains("system\n"))
    #expect(try run("test", "-c", "/dev/dma_heap/system").status == 0)
    #expect(try run("test", "-w", "/dev/dma_heap/system").status == 0)
    #expect(try run("test", "-e", "/dev/dma_heap/no-such-heap").status == 1)
  }

  /// A running `user system ask`.
  private final class Asking {
    let process = Process()
    private let input = Pipe()
    private let output = Pipe()

    init(_ user: String, _ daemon: Daemon) throws {
      process.executableURL = URL(fileURLWithPath: try Program.path("heapctl"))
      process.arguments = [
        "run", "--socket", daemon.socket, "--always", "--", user, "system", "ask",
      ]
      process.standardInput = input
      process.standardOutput = output
      try process.run()
    }

    func ask() -> String {
      input.fileHandleForWriting.write(Data("\n".utf8))
      var line = ""
      while let byte = try? output.fileHandleForReading.read(upToCount: 1)?.first, byte != 10 {
        line.unicodeScalars.append(Unicode.Scalar(byte))
      }
      return line
    }

    func finish() {
      try? input.fileHandleForWriting.close()
      process.waitUntilExit()
    }
  }

  @Test func `its buffers are on its account, by its name and process, until they are closed`()
    throws
  {
    let daemon = try Daemon(configuration: "connection-buffers = 2\n")
    let asking = try Asking(user, daemon)
    #expect((0..<3).map { _ in asking.ask() } == ["ok", "ok", "Cannot allocate memory"])
    let heap = try RemoteHeap(socket: daemon.socket)
    let buffers = try ServerStatus(of: heap).buffers
    #expect(buffers.map(\.collection) == Array(repeating: UInt64("user", radix: 36)!, count: 2))
    #expect(buffers.allSatisfy { $0.process == asking.process.processIdentifier && !$0.orphan })
    asking.finish()
    #expect(asking.process.terminationStatus == 0)
    #expect(try eventually { try ServerStatus(of: heap).quota.buffers == 0 })
  }

  @Test func `a service that ends is a device that is gone, and the next one serves`() throws {
    let asking = try Asking(user, daemon)
    #expect(asking.ask() == "ok")
    daemon.kill()
    #expect(asking.ask() == "No such device")
    let next = try Daemon(folder: daemon.folder)
    #expect(asking.ask() == "ok")
    asking.finish()
    #expect(next.stop() == 0)
  }

  @Test func `all else is as it was, without a service too`() throws {
    let script = "cat /no/such/file; ls /no/such/folder; test -e /dev/dma_heap/none || echo none"
    let environment = [
      "LD_PRELOAD=" + (try Program.path(library)), "LINUXHEAPS_PRELOAD=/no/such/socket",
    ]
    let plain = try ProgramRun(words: ["/bin/sh", "-c", script])
    let loaded = try ProgramRun(words: ["/usr/bin/env"] + environment + ["/bin/sh", "-c", script])
    #expect(loaded.output == plain.output)
    #expect(loaded.error == plain.error)
    #expect(loaded.status == plain.status)
  }

  @Test func `signals and descriptors are the caller's`() throws {
    let caller = "exec env --block-signal=USR1 --ignore-signal=USR2 \"$@\" <&-"
    let heapctl = [try Program.path("heapctl"), "run", "--socket", daemon.socket, "--"]
    for program in [
      ["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"],
      ["sh", "-c", "test -e /proc/$$/fd/0 || echo closed"],
    ] {
      let plain = try ProgramRun(words: ["/bin/sh", "-c", caller, "sh"] + program)
      let run = try ProgramRun(words: ["/bin/sh", "-c", caller, "sh"] + heapctl + program)
      #expect(plain.output != "")
      #expect(run.output == plain.output, "\(run.error)")
    }
  }

  @Test func `heapctl run ends as the program does, or as env(1)`() throws {
    #expect(try run("--", "/bin/sh", "-c", "exit 3").status == 3)
    #expect(try run("sh", "-c", "kill -KILL $$").status == SIGKILL)
    let absent = try run("--", "no-such-program")
    #expect(absent.status == 127)
    #expect(
      absent.error == "heapctl: run no-such-program: No such file or directory [errno 2]\n")
    #expect(try run("--", "/etc/passwd").status == 126)
    #expect(try run().status == 64)
    #expect(try run("--").status == 64)
    let unserved = try ProgramRun("heapctl", ["run", "--socket", "/no/such/socket", "--", "true"])
    #expect(unserved.status == 69)
    #expect(unserved.output == "")
  }

  @Test func `the library is found where it is installed`() throws {
    let folder = daemon.folder + "/usr"
    let (bin, place) = (folder + "/bin", folder + "/lib/linux-heaps")
    let files = FileManager.default
    for folder in [bin, place] {
      try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }
    try files.copyItem(atPath: Program.path("heapctl"), toPath: bin + "/heapctl")
    let words = [bin + "/heapctl", "run", "--socket", daemon.socket, "printenv", "LD_PRELOAD"]
    let missing = try ProgramRun(words: words)
    #expect(missing.status == 69)
    #expect(missing.error.contains(place + "/" + library))
    try files.copyItem(atPath: Program.path(library), toPath: place + "/" + library)
    #expect(try ProgramRun(words: words).output == place + "/" + library + "\n")
    let others = ["/usr/bin/env", "LD_PRELOAD=libm.so.6"] + words
    #expect(try ProgramRun(words: others).output.hasSuffix(library + ":libm.so.6\n"))
  }
}
