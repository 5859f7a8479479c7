import Foundation
import Glibc
import LinuxHeaps
import TestSupport
import Testing

/// Files of sockets: made, replaced, removed, and never another's.
@Suite struct SocketFileTests {
  private static func heapd(_ socket: String, _ arguments: String...) throws -> ProgramRun {
    try ProgramRun("heapd", ["--heap", "memfd", "--socket", socket] + arguments)
  }

  @Test func `a second server on the same socket is refused`() throws {
    let scene = try Scene()
    let run = try Self.heapd(scene.daemon.socket)
    #expect(
      run.error.contains(
        """
        heapd: listen (\(scene.daemon.socket)): a server listens there already; \
        ALREADY_EXISTS. To fix it: stop it, or choose another path
        """))
    #expect(run.status == 1)
    #expect(try WireClient.heap(scene.daemon).refusal() == nil)
    try scene.expectUnharmed()
  }

  @Test func `a socket that nobody listens on any more is replaced`() throws {
    let folder = try Daemon.newFolder()
    let first = try Daemon(folder: folder)
    first.kill()
    #expect(FileManager.default.fileExists(atPath: first.socket))
    let second = try Daemon(folder: folder)
    #expect(try WireClient.heap(second).refusal() == nil)
  }

  @Test func `a server that ends leaves the files of the one that took its place`() throws {
    let folder = try Daemon.newFolder()
    let first = try Daemon(folder: folder)
    for file in [first.socket, first.socket + ".observer"] {
      try FileManager.default.removeItem(atPath: file)
    }
    let second = try Daemon(folder: folder)
    #expect(first.stop() == 0)
    #expect(try WireClient.heap(second).refusal() == nil)
    _ = try WireClient.observer(second).status()
    #expect(second.stop() == 0)
    #expect(!FileManager.default.fileExists(atPath: second.socket))
  }

  @Test func `a file that is no socket stays`() throws {
    let folder = try TemporaryFolder()
    let file = try folder.file("precious", "data")
    let run = try Self.heapd(file)
    #expect(
      run.error.contains(
        """
        heapd: listen (\(file)): there is a file, and it is no socket; ALREADY_EXISTS. \
        To fix it: choose another path
        """))
    #expect(run.status == 1)
    #expect(try String(contentsOfFile: file, encoding: .utf8) == "data")
  }

  @Test(arguments: [SOCK_STREAM, SOCK_DGRAM])
  func `a socket of another kind that is in use stays`(_ type: __socket_type) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/other.sock"
    let other = try SocketFile.bound(path, type)
    let run = try Self.heapd(path)
    #expect(run.error.contains("heapd: listen (\(path)): a server listens there already"))
    #expect(run.status == 1)
    #expect(FileManager.default.fileExists(atPath: path))
    withExtendedLifetime(other) {}
  }

  @Test(.enabled(if: geteuid() == 0, "needs root, to run heapd as another user"))
  func `a socket that this user may not ask stays`() throws {
    let user = try OrdinaryUser()
    let path = user.folder.path + "/other.sock"
    let other = try SocketFile.bound(path, SOCK_SEQPACKET)
    unsafe chmod(path, 0o600)
    let run = try user.heapd("--heap", "memfd", "--socket", path)
    #expect(
      run.error.contains(
        """
        heapd: listen (\(path)): there is a socket that this user may not connect to, so a server \
        may listen there; ACCESS_DENIED. To fix it: stop it and remove the file, or choose another \
        path
        """))
    #expect(run.status == 77)
    #expect(FileManager.default.fileExists(atPath: path))
    withExtendedLifetime(other) {}
  }

  @Test(.enabled(if: geteuid() == 0, "needs root, to run heapd as another user"))
  func `a group that this user is not in is named`() throws {
    let user = try OrdinaryUser()
    let path = user.folder.path + "/s"
    let run = try user.heapd("--heap", "memfd", "--socket", path, "--group", "root")
    #expect(
      run.error.contains(
        """
        heapd: listen (\(path)): this user may not give a file to group 0 \
        [Operation not permitted, errno 1]; ACCESS_DENIED. To fix it: use a group that this user is in
        """))
    #expect(run.status == 77)
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func `a socket without a file is refused`() throws {
    let run = try Self.heapd("@heapd")
    #expect(run.error.contains("heapd: listen (@heapd): a socket without a file has no mode"))
    #expect(run.status == 1)
  }

  @Test func `a path through a file is named`() throws {
    let run = try Self.heapd("/dev/null/heap.sock")
    #expect(run.error.contains("heapd: listen (/dev/null/heap.sock): Not a directory"))
    #expect(run.error.contains("To fix it: make the folder, or choose a path in one that is there"))
  }

  @Test func `a folder that is not there is named`() throws {
    let run = try Self.heapd("/nowhere/heap.sock")
    #expect(
      run.error.contains("heapd: listen (/nowhere/heap.sock): No such file or directory"))
    #expect(run.error.contains("To fix it: make the folder, or choose a path in one that is there"))
    #expect(run.status == 69)
  }

  @Test func `a path that is too long is named`() throws {
    let path = "/tmp/" + String(repeating: "x", count: 120)
    let run = try Self.heapd(path)
    #expect(run.error.contains("the path of a socket has 1 to 107 bytes (unix(7)), this one 125"))
    #expect(run.status == 1)
  }

  @Test func `a group that is not there is named`() throws {
    let folder = try TemporaryFolder()
    let run = try Self.heapd(folder.path + "/s", "--group", "no-such-group")
    #expect(
      run.error.contains(
        """
        heapd: listen (\(folder.path)/s): there is no group 'no-such-group'; NOT_FOUND. \
        To fix it: use a group's name or number
        """))
    #expect(run.status == 69)
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/s"))
  }

  @Test(arguments: [SIGTERM, SIGINT])
  func `a stop removes the files, and leaves buffers with their holders`(_ signal: Int32) throws {
    let daemon = try Daemon()
    let client = try WireClient.heap(daemon)
    let buffer = try client.allocate()
    try buffer.write([7])
    kill(daemon.identifier, signal)
    #expect(try client.receive() == nil)
    daemon.process.waitUntilExit()
    #expect(daemon.process.terminationStatus == 0)
    #expect(daemon.process.terminationReason == .exit)
    for path in [daemon.socket, daemon.observer] {
      #expect(!FileManager.default.fileExists(atPath: path))
    }
    #expect(try buffer.read(1) == [7])
    #expect(daemon.log.contains("stopping"))
  }
}
