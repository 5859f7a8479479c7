import Foundation
import Glibc
import LinuxHeaps
import TestSupport
import Testing

@Suite struct CommandLineTests {
  private static func run(_ arguments: [String]) throws -> (text: String, status: Int32) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try Program.path("heapd"))
    process.arguments = arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (text, process.terminationStatus)
  }

  @Test(arguments: [
    (["--sockt", "x"], "heapd: unknown argument '--sockt'", 64),
    (["--sockt", "x"], "see heapd --help", 64),
    (["--socket"], "heapd: --socket requires a value", 64),
    (
      ["--mode", "9"], "invalid value '9' for --mode: expected octal permission bits, e.g. 0660", 64
    ),
    (
      ["--log-level", "loud"], "invalid value 'loud' for --log-level: expected trace, debug, info",
      64
    ),
    (["--socket="], "heapd: --socket requires a value", 64),
    (
      ["--heap", "memfd", "--heap", "system"],
      "heapd: --heap memfd cannot be combined with other heaps", 64
    ),
    (["--config", "/nowhere/heapd.conf"], "read the configuration (/nowhere/heapd.conf)", 69),
    (["--config", "/nowhere/heapd.conf"], "To fix it: name a file that this user may read", 69),
    (["--heap", "no-such-heap"], "heapd: serve heap 'no-such-heap': there is no such heap", 69),
    (["--heap", "memfd", "--socket", "/nowhere/x"], "heapd: listen (/nowhere/x)", 69),
  ])
  func `a fault names what is wrong`(
    _ arguments: [String], _ message: String, _ status: Int32
  ) throws {
    let run = try Self.run(arguments)
    #expect(run.status == status)
    #expect(run.text.contains(message), "\(run.text)")
  }

  /// It would refuse every client.
  @Test(
    .enabled(if: geteuid() == 0, "needs root, to run heapd as another user"),
    arguments: [UDMABufHeap.name] + HeapCatalog().heaps().prefix(1).map(\.name))
  func `a heap that is closed to it is not served`(_ heap: String) throws {
    let user = try OrdinaryUser()
    let run = try user.heapd("--heap", heap, "--socket", user.folder.path + "/s")
    #expect(run.status == 69 || run.status == 77)
    #expect(run.error.contains("heapd: serve heap '\(heap)' (/dev/"), "\(run.error)")
    #expect(run.error.contains("To fix it: "), "\(run.error)")
  }

  @Test func `help and version are told`() throws {
    let help = try Self.run(["--help"])
    #expect(help.status == 0)
    #expect(help.text.hasPrefix("usage: heapd [--socket PATH]"))
    let version = try Self.run(["--version"])
    #expect(version.status == 0)
    #expect(version.text.hasPrefix("heapd 0."))
  }
}
