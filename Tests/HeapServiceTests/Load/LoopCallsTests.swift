import Foundation
import Glibc
import HeapProtocol
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

/// What the event loop's thread does, by a trace of it: it makes the calls that are documented, and closes nothing that a
/// client made but sockets with nothing in them.
@Suite struct LoopCallsTests {
  private static let strace = "/usr/bin/strace"

  @Test(.enabled(if: unsafe access(strace, X_OK) == 0, "needs strace"))
  func `the loop makes no other calls than its page says, and closes nothing of a stranger's`()
    throws
  {
    let folder = try TemporaryFolder()
    let (trace, metrics) = (folder.path + "/trace", folder.path + "/metrics.sock")
    let daemon = try Daemon(
      arguments: ["--metrics-socket", metrics],
      // The tracer is nobody's parent, so that the process is heapd. Each thread has a file, in which no call is cut in two by another
      // thread's.
      through: [Self.strace, "-D", "-ff", "-y", "-qq", "-o", trace])
    try Self.everyWay(daemon, metrics)
    let first = trace + ".\(daemon.process.processIdentifier)"
    #expect(daemon.stop() == 0)
    var lines: [Substring] = []
    let isWhole = try eventually {
      lines = try String(contentsOfFile: first, encoding: .utf8).split(separator: "\n")
      return lines.last?.contains("exit_group") == true
    }
    #expect(isWhole)
    // From its first turn to the signal.
    let turns = lines.drop { !$0.contains("epoll_wait") }
      .prefix { !$0.contains("<anon_inode:[signalfd]>") }
    let calls = Set(turns.compactMap(Self.call))
    let documented = try Self.documented()
    #expect(calls.contains("statx") && calls.contains("recvfrom"))
    #expect(calls.subtracting(documented) == [])
    let closes = zip(turns, turns.dropFirst()).filter { Self.call($0.1) == "close" }
    let foreign = closes.filter {
      !$0.1.contains(/<(\/memfd:(lh|heapd):|anon_inode:|\/(proc|sys|dev\/dma_heap|dmabuf))/)
        && !Self.hasSeenEnd($0.0, $0.1)
    }
    #expect(closes.count > 5)
    #expect(foreign.map { String($0.1) } == [])
    #expect(closes.contains { Self.hasSeenEnd($0.0, $0.1) })
  }

  /// A look into a socket that found its end and nothing before it, and then the close of it.
  private static func hasSeenEnd(_ look: Substring, _ close: Substring) -> Bool {
    guard let socket = close.firstMatch(of: /\((\d+<socket:\[\d+\]>)\)/)?.1 else { return false }
    return look.contains("recvmsg(\(socket), ")
      && look.contains(/msg_flags=0}, MSG_PEEK\|MSG_DONTWAIT\) += 0$/)
  }

  private static func call(_ line: Substring) -> String? {
    line.prefixMatch(of: /([a-z0-9_]+)\(/).map { String($0.1) }
  }

  /// The words in code in the first column of the page's tables.
  private static func documented() throws -> Set<String> {
    let page = try String(
      contentsOfFile: Daemon.repository + "/Sources/HeapServer/HeapServer.docc/LoopCalls.md",
      encoding: .utf8)
    let cells = page.split(separator: "\n").filter { $0.hasPrefix("| `") }
      .compactMap { $0.split(separator: "|").first }
    return Set(cells.flatMap { $0.matches(of: /`([a-z0-9_]+)`/).map { String($0.1) } })
  }

  /// Each way in which something of a client's comes to its end.
  private static func everyWay(_ daemon: Daemon, _ metrics: String) throws {
    let heap = try WireClient.heap(daemon)
    let observer = try WireClient.observer(daemon)
    let odd = try OddFile.socketPair()
    let pipe = try OddFile.pipe()
    for size in [pageSize, 8 << 20] {
      var buffer: SharedFD? = try heap.allocate(1, size: size)
      _ = try observer.info(#require(buffer))
      try heap.delete(1, &buffer)
    }
    // By a worker, whatever it is.
    #expect(throws: Refusal(code: .wrongType)) { try heap.allocate(from: odd.near) }
    let refusal: HeapError.Code = UDMABufHeap.isUsable ? .badState : .notSupported
    #expect(throws: Refusal(code: refusal)) { try heap.allocate(from: OddFile.memfd()) }
    _ = try observer.info(odd.near)
    #expect(try observer.awaitRefusal(odd.near) == .notFound)
    try heap.receiveDeleted(heap.sendDelete(5, odd.near))
    try observer.attach(pipe.write, to: 7, remaining: 0)
    #expect(throws: Refusal(code: .invalidArgs)) {
      try observer.attach(odd.far, to: 7, remaining: 0)
    }
    _ = try observer.status()
    // Ends it, and the second is not read.
    for socket in [daemon.socket, daemon.observer] {
      let client = try WireClient(to: socket)
      // It would have hung up before the second was sent.
      daemon.pause()
      defer { daemon.resume() }
      for _ in 0..<2 { try client.send([0], [odd.far.fd.rawValue]) }
      client.hangUp()
    }
    let reader = try SocketFile.connected(metrics, SOCK_STREAM)
    try WireClient.send(on: reader.rawValue, [10, 10], [odd.far.fd.rawValue])
    let answer = try BorrowedFD(reader.rawValue).receiveSome()
    #expect(answer > 0)
    let isAlone = try eventually { try observer.status().isAlone(2) }
    #expect(isAlone)
  }
}

extension BorrowedFD {
  fileprivate func receiveSome() throws(Errno) -> Int {
    let number = rawValue
    var byte: UInt8 = 0
    return try call { unsafe recv(number, &byte, 1, 0) }
  }
}
