import Foundation
import LinuxHeaps
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
    #expect(run.status == 69)
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

  @Test func `a file that is no socket stays`() throws {
    let folder = try Folder()
    let file = try folder.file("precious", "data")
    let run = try Self.heapd(file)
    #expect(
      run.error.contains(
        """
        heapd: listen (\(file)): there is a file, and it is no socket; ALREADY_EXISTS. \
        To fix it: choose another path
        """))
    #expect(run.status == 69)
    #expect(try String(contentsOfFile: file, encoding: .utf8) == "data")
  }

  @Test func `a folder that is not there is named`() throws {
    let run = try Self.heapd("/nowhere/heap.sock")
    #expect(
      run.error.contains("heapd: listen (/nowhere/heap.sock): No such file or directory"))
    #expect(run.error.contains("To fix it: choose a path in a folder that this user may write to"))
    #expect(run.status == 69)
  }

  @Test func `a path that is too long is named`() throws {
    let path = "/tmp/" + String(repeating: "x", count: 120)
    let run = try Self.heapd(path)
    #expect(run.error.contains("the path of a socket has 1 to 107 bytes (unix(7)), this one 125"))
    #expect(run.status == 69)
  }

  @Test func `a group that is not there is named`() throws {
    let folder = try Folder()
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
