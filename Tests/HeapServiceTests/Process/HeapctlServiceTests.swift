import Foundation
import Glibc
import HeapClient
import LinuxHeaps
import TestSupport
import Testing

/// heapctl, asking a service.
@Suite struct HeapctlServiceTests {
  private static func heapctl(
    _ arguments: String...
  ) throws -> (output: String, error: String, status: Int32) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try Program.path("heapctl"))
    process.arguments = arguments
    let (output, error) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = error
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    let faults = String(decoding: error.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (text, faults, process.terminationStatus)
  }

  @Test func `info shows what there is, as a table`() throws {
    let daemon = try Daemon(
      configuration: """
        connection-buffers = 8
        connection-bytes = 64K
        user-buffers = 16
        user-bytes = 128K
        total-buffers = 32
        total-bytes = 1M
        """)
    let client = try WireClient.heap(daemon)
    let buffer = try client.allocate(3, of: 17, size: 2 * pageSize)
    #expect(try WireClient.observer(daemon).status().connections.count == 2)
    #expect(eventually { (try? WireClient.observer(daemon).status().connections.count) == 2 })
    let info = try Self.heapctl("info", "--socket", daemon.socket)
    #expect(info.status == 0 && info.error == "")
    let rows = info.output.split(separator: "\n").map {
      $0.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
    let size = (2 * pageSize).asByteCount
    #expect(rows.first == "memfd: 1 of 32 buffers, \(size) of 1 MiB, 0 orphans")
    #expect(rows[1].hasPrefix("who comes by the socket's group: 0 of 14336 buffers, 0 B of "))
    #expect(rows[2].hasPrefix("others: 0 of 14336 buffers, 0 B of "))
    let isTaken = UDMABufHeap.isUsable
    #expect(rows[3] == "clients' own memory: \(isTaken ? "taken" : "not taken")")
    #expect(rows.contains("\(geteuid()) 3 1 of 16 \(size) of 128 KiB"))
    #expect(rows.contains("17 3 \(size) memfd \(geteuid()) \(getpid()) no"))
    withExtendedLifetime(buffer) {}
  }

  @Test func `info tells the same as JSON`() throws {
    let daemon = try Daemon()
    let client = try WireClient.heap(daemon)
    let buffer = try client.allocate(3, of: 17)
    let info = try Self.heapctl("info", "--socket", daemon.socket, "--json")
    #expect(info.status == 0 && info.error == "")
    let status = try JSONDecoder().decode(ServerStatus.self, from: Data(info.output.utf8))
    #expect(status.buffers.map(\.collection) == [17])
    #expect(status.buffers.map(\.orphan) == [false])
    #expect(status.quota.buffers == 1)
    withExtendedLifetime(buffer) {}
  }

  @Test func `alloc asks the service`() throws {
    let daemon = try Daemon()
    let run = try Self.heapctl("alloc", "--socket", daemon.socket, "--size", "1M", "--json")
    #expect(run.status == 0)
    #expect(run.error == "given back and reclaimed\n")
    #expect(run.output.contains("\"kind\" : \"memfd\""))
    #expect(try eventually { try WireClient.observer(daemon).status().quota.buffers == 0 })
  }

  /// Also where the quota leaves no room for the report.
  @Test(arguments: ["connection-buffers", "user-buffers", "total-buffers"])
  func `who is refused by a quota is told how to see it`(_ quota: String) throws {
    let daemon = try Daemon(configuration: "\(quota) = 1\n")
    let heap = try RemoteHeap(socket: daemon.socket)
    let vmo = try heap.allocate(byteCount: 1)
    let error = refusal { () throws(HeapError) in try heap.allocate(byteCount: 1) }
    #expect(error?.code == .noResources)
    let words = try #require(error?.fix).split(separator: " ").map(String.init)
    let info = try Run.heapctl(Array(words.drop { $0 != "heapctl" }.dropFirst()))
    #expect(info.status == 0, "\(info.error)")
    #expect(info.output.contains(" 1 of 1 "), "\(info.output)")
    withExtendedLifetime(vmo) {}
  }

  @Test(arguments: ["memfd", "opaque", "udmabuf"])
  func `a service without contiguous memory refuses requests for it, and what served is told`(
    _ heap: String
  ) throws {
    if heap == "udmabuf" && !UDMABufHeap.isUsable { return }
    let daemon = try Daemon(heap: [heap])
    let words = ["alloc", "--socket", daemon.socket, "--size", "1M"]
    let run = try Run.heapctl(words + ["--contiguous", "--json"])
    #expect(run.status == 69)
    #expect(run.output == "")
    #expect(run.error.contains("the service has no such memory"))
    #expect(run.error.contains("NOT_SUPPORTED"))
    // A thread of its own writes the log.
    #expect(eventually { daemon.log.contains("the heap has no contiguous or secure memory") })

    let buffer = try #require(try Run.heapctl(words + ["--json"]).json["buffer"] as? [String: Any])
    #expect(buffer["heap"] as? String == heap)
    #expect(buffer["contiguous"] as? Bool == false)
    let kind = heap == "opaque" ? "an opaque vmo" : heap == "memfd" ? "a memfd" : "a dma-buf"
    #expect(
      try Run.heapctl(words).output.hasPrefix(
        "1 MiB of \(heap), served at \(daemon.socket): \(kind), inode "))
  }

  @Test(arguments: [true, false])
  func `secure memory is refused by a heap of memfds`(_ isSecure: Bool) throws {
    let daemon = try Daemon()
    let heap = try RemoteHeap(socket: daemon.socket)
    let settings = SingleBufferSettings(bufferSettings: BufferMemorySettings(isSecure: isSecure))
    let error = refusal { () throws(HeapError) in
      try heap.allocateVmo(
        size: 1, settings: settings, bufferCollectionID: 1, bufferIndex: 0)
    }
    #expect(error?.code == (isSecure ? .notSupported : nil))
  }

  @Test func `verify checks the heap of a service`() throws {
    let daemon = try Daemon(heap: ["opaque"])
    let run = try Self.heapctl("verify", "--socket", daemon.socket, "--seed", "7")
    #expect(run.status == 0 && run.error == "", "\(run.error)")
    let lines = run.output.split(separator: "\n")
    #expect(lines.count > 10, "\(run.output)")
    for line in lines.dropLast() {
      #expect(line.hasPrefix("pass  ") && line.contains(", served at \(daemon.socket)  "))
    }
    #expect(lines.last?.hasSuffix(" passed, 0 failed, 0 skipped, seed 7") == true)
    #expect(try eventually { try WireClient.observer(daemon).status().quota.buffers == 0 })
  }

  /// Neither is a place where a service can be started.
  @Test func `a file that is no such socket is named`() throws {
    let folder = try TemporaryFolder()
    let stream = try SocketFile.bound(folder.path + "/stream", SOCK_STREAM)
    let daemon = try Daemon()
    let refused = "Connection refused, errno 111"
    let none = "it is no socket [\(refused)]"
    for (path, cause) in [
      (try folder.file("file", ""), none), (folder.path, none),
      (
        folder.path + "/stream",
        "another program listens there, on a socket of another type [Protocol wrong type for socket, errno 91]"
      ),
      (daemon.observer, "it is no socket of a heap service"),
    ] {
      for arguments in [["info"], ["alloc", "--size", "1"], ["verify"]] {
        let run = try ProgramRun("heapctl", arguments + ["--socket", path])
        #expect(run.status == 69)
        #expect(
          run.error == "heapctl: connect to the heap service (\(path)): \(cause); WRONG_TYPE. "
            + "To fix it: name heapd's socket, e.g. /run/heapd/heap.sock\n")
      }
    }
    withExtendedLifetime(stream) {}
  }

  /// heapd takes no such path.
  @Test func `a service is not to be started on a socket without a file`() throws {
    let run = try ProgramRun("heapctl", ["info", "--socket", "@no-such-heap"])
    #expect(run.status == 69)
    #expect(run.error.contains("nobody listens there [Connection refused, errno 111]; NOT_FOUND"))
    #expect(run.error.hasSuffix("To fix it: start the service: heapd --socket PATH\n"))
  }

  /// It takes both sockets, and the second one's path is no use to anybody.
  @Test func `without the observer's socket info says what helps`() throws {
    let full = try Daemon(configuration: "user-connections = 1\n")
    let refused = try ProgramRun("heapctl", ["info", "--socket", full.socket])
    #expect(
      refused.status == 1 && refused.error.hasSuffix("NO_RESOURCES. To fix it: close others\n"))
    let daemon = try Daemon()
    unsafe unlink(daemon.observer)
    let absent = try ProgramRun("heapctl", ["info", "--socket", daemon.socket])
    #expect(absent.status == 69)
    #expect(
      absent.error.hasSuffix(
        "To fix it: start the service again, or name its observer's socket\n"))
  }

  @Test(.timeLimit(.minutes(1))) func `info does not wait for ever`() throws {
    let daemon = try Daemon()
    daemon.pause()
    defer { daemon.resume() }
    let run = try ProgramRun("heapctl", ["info", "--socket", daemon.socket])
    #expect(run.status == 1 && run.error.contains("no answer within 10.0 seconds; TIMED_OUT"))
  }

  @Test func `info asks where heapd serves where nobody says otherwise`() throws {
    let run = try ProgramRun("heapctl", ["info"])
    let prefix = "heapctl: connect to the heap service (/run/heapd/heap.sock"
    #expect(run.status == 0 || run.error.hasPrefix(prefix), "\(run)")
  }

  @Test func `without a service it says how to start one`() throws {
    let folder = try TemporaryFolder()
    // Files that a killed server left: its sockets' own.
    for name in ["left", "left.observer"] {
      _ = try SocketFile.bound("\(folder.path)/\(name)", SOCK_SEQPACKET)
    }
    for (name, cause) in [
      ("none", "No such file or directory [errno 2]"),
      ("left", "nobody listens there [Connection refused, errno 111]"),
    ] {
      let path = "\(folder.path)/\(name)"
      for arguments in [["info"], ["alloc", "--size", "1"], ["verify"]] {
        let run = try ProgramRun("heapctl", arguments + ["--socket", path])
        #expect(run.status == 69)
        #expect(
          run.error == "heapctl: connect to the heap service (\(path)): \(cause); NOT_FOUND. "
            + "To fix it: start the service: heapd --socket \(path)\n")
      }
    }
  }
}
