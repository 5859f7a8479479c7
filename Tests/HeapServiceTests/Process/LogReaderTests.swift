import Foundation
import Glibc
import HeapProtocol
import LinuxHeaps
import Logging
import TestSupport
import Testing

@testable import HeapServer

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
    let log = ClientLog(Logger(label: "test") { _ in lines })
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

  private struct Lines: LogHandler {
    private let lines = Guarded<[String]>([])
    var metadata = Logger.Metadata()
    var logLevel = Logger.Level.trace

    var taken: [String] { lines.withLock { $0 } }

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
