import Foundation
import Testing

@Suite struct CommandLineTests {
  private static func run(_ arguments: [String]) throws -> (text: String, status: Int32) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try Daemon.program("heapd"))
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
    (["--socket"], "heapd: --socket wants a value", 64),
    (["--mode", "9"], "heapd: '9' is no value of --mode", 64),
    (["--log-level", "loud"], "heapd: 'loud' is no value of --log-level", 64),
    (["--heap", "memfd", "--heap", "system"], "heapd: --heap memfd stands alone", 64),
    (["--config", "/nowhere/heapd.conf"], "read the configuration (/nowhere/heapd.conf)", 69),
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

  @Test func `help and version are told`() throws {
    let help = try Self.run(["--help"])
    #expect(help.status == 0)
    #expect(help.text.hasPrefix("usage: heapd [--socket PATH]"))
    let version = try Self.run(["--version"])
    #expect(version.status == 0)
    #expect(version.text.hasPrefix("heapd 0."))
  }
}
