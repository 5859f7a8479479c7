import Foundation
import Glibc
import HeapProtocol
import LinuxHeaps
import Logging
import TestSupport
import Testing

@testable import HeapServer
@testable import heapd

/// Nobody has to read the log, and no client can fill it.
@Suite struct LogReaderTests {
  @Test(arguments: [false, true])
  func `a reader that stalls or goes stops nothing`(goes: Bool) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/log"
    _ = try call { unsafe mkfifo(path, 0o600) }
    var reader: SharedFD? = SharedFD(try .open(path, O_RDONLY | O_NONBLOCK))
    let daemon = try Daemon(
      arguments: ["--log-level", "debug"],
      through: ["/bin/sh", "-c", "exec \"$@\" 2> \(path)", "sh"])
    if goes { reader = nil }
    let client = try WireClient.heap(daemon)
    // More lines than a pipe has room for.
    for index in 0..<500 as Range<UInt64> {
      var buffer: SharedFD? = try client.allocate(index)
      try client.delete(index, &buffer)
    }
    #expect(daemon.stop() == 0)
    withExtendedLifetime(reader) {}
  }

  /// Of each file that it opens the number would be the lowest that is free.
  @Test func `closed standard descriptors are nobody's file`() throws {
    let daemon = try Daemon(
      arguments: ["--log-level", "debug"],
      through: ["/bin/sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"])
    let client = try WireClient.heap(daemon)
    var buffer: SharedFD? = try client.allocate(1)
    try client.delete(1, &buffer)
    for number in 0...2 {
      let file = try FileManager.default.destinationOfSymbolicLink(
        atPath: "/proc/\(daemon.identifier)/fd/\(number)")
      #expect(file == "/dev/null")
    }
    #expect(daemon.stop() == 0)
  }

  @Test func `of each kind of line a user has a few at once, and then some`() throws {
    let lines = Lines()
    let log = ClientLog(Logger(label: "test") { _ in lines }, Deadlines())
    for _ in 0..<100 { log.note("refused", of: 1, [:]) }
    #expect(lines.taken == Array(repeating: "refused more=0", count: 20))
    // Others, and other kinds, have their own.
    log.note("refused", of: 2, [:])
    log.note("dropped", of: 1, [:])
    #expect(lines.taken.suffix(2) == ["refused more=0", "dropped more=0"])
    sleep(1)
    log.note("refused", of: 1, [:])
    #expect(lines.taken.last == "refused more=80")
  }

  @Test func `what was left out is told though nothing comes after it`() throws {
    let (lines, deadlines) = (Lines(), Deadlines())
    let log = ClientLog(Logger(label: "test") { _ in lines }, deadlines)
    for _ in 0..<20 { log.note("refused", of: 1, [:]) }
    #expect(deadlines.next == nil)
    for _ in 0..<80 { log.note("refused", of: 1, [:]) }
    for _ in 0..<30 { log.note("dropped", of: 2, [:]) }
    #expect(lines.taken.count == 40)
    // Each user's second ends at its own moment.
    let areTold = eventually {
      if deadlines.takeDue() == [.leftOut] { log.tellLeftOut() }
      return lines.taken.count >= 42
    }
    #expect(areTold)
    #expect(
      Set(lines.taken.suffix(2)) == [
        "lines left out: refused more=80", "lines left out: dropped more=10",
      ])
    #expect(lines.taken.count == 42 && deadlines.next == nil)
  }

  /// Many users' counts are not forgotten for others'.
  @Test func `lines and those left out are all that came`() throws {
    let lines = Lines()
    let log = ClientLog(Logger(label: "test") { _ in lines }, Deadlines())
    for user in 0..<5_000 as Range<uid_t> {
      for _ in 0..<22 { log.note("refused", of: user, [:]) }
    }
    log.finish()
    #expect(lines.all == 110_000)
  }

  @Test func `a flood that ends is counted to its end`() throws {
    let daemon = try Daemon()
    let sent = 60
    for _ in 0..<sent {
      let client = try WireClient.heap(daemon)
      try client.send([0])
      #expect(try client.epitaph() == .invalidArgs)
    }
    var count = 0
    let isWhole = eventually {
      let lines = daemon.log.split(separator: "\n").filter { $0.contains("connection closed") }
      count = lines.reduce(0) { count, line in
        let more = line.firstMatch(of: /more=([0-9]+)/).flatMap { Int($0.1) } ?? 0
        return count + more + (line.contains("left out") ? 0 : 1)
      }
      return count >= sent
    }
    #expect(isWhole && count == sent)
  }

  /// It would be the client's own line, and under systemd an emergency.
  @Test func `nothing in a line makes another`() async throws {
    let result = try await #require(
      processExitsWith: .success, observing: [\.standardErrorContent]
    ) {
      let lines = try LogLines()
      let log = Logger(label: "heapd") { StreamLogHandler(label: $0, stream: lines) }
      let node = "/dev/dma_heap/x\n<0>one\r\n<0>two\u{85}\u{2028}"
      log.warning("allocation failed", metadata: ["error": "\(node)"])
      log.warning("the next")
      lines.finish()
    }
    let lines = String(decoding: result.standardErrorContent, as: UTF8.self).utf8
      .split(separator: UInt8(ascii: "\n")).map { String(Substring($0)) }
    #expect(lines.count == 2, "\(lines)")
    #expect(lines.first?.hasPrefix("<0>") == false)
    #expect(lines.first?.contains(#"x\u{A}<0>one\u{D}\u{A}<0>two\u{85}\u{2028}"#) == true)
    #expect(lines.last?.hasSuffix("the next") == true)
  }

  private struct Lines: LogHandler {
    private let lines = Guarded<[String]>([])
    var metadata = Logger.Metadata()
    var logLevel = Logger.Level.trace

    var taken: [String] { lines.withLock { $0 } }

    /// Lines, and those that were left out.
    var all: Int {
      taken.reduce(0) { count, line in
        let more = line.split(separator: "=").last.flatMap { Int($0) } ?? 0
        return count + more + (line.hasPrefix("lines left out") ? 0 : 1)
      }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      let more = event.metadata?["more"].map { "\($0)" } ?? "none"
      lines.withLock { $0.append("\(event.message) more=\(more)") }
    }
  }
}
