import Foundation
import HeapTestKit
import Testing

@Suite struct ProgressTests {
  /// What a terminal gets as standard error, while standard output goes elsewhere: script(1) is the
  /// terminal.
  private func terminal(_ arguments: String, is kind: String = "xterm") throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/script")
    let command = "'\(try Run.heapctlPath)' \(arguments) > /dev/null"
    process.arguments = ["--quiet", "--return", "--command", command, "/dev/null"]
    process.environment = ProcessInfo.processInfo.environment.merging(["TERM": kind]) { $1 }
    process.standardInput = FileHandle.nullDevice
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let bytes = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test(arguments: ["text", "ktap"])
  func `a terminal shows each check while it runs, and nothing of it after`(
    _ format: String
  ) throws {
    let text = try terminal("verify --heap opaque --seed 4 --format \(format)")
    let clear = "\r\u{1B}[2K"
    let checks = HeapCheck.all(for: .opaque, orderedBy: 4)
    let wanted = zip(1..., checks).map { number, check in
      "\(clear)\(number) of \(checks.count): opaque \(check.name)\r\(clear)"
    }
    #expect(text == wanted.joined())
  }

  @Test func `a terminal that can only be written on gets no progress`() throws {
    #expect(try terminal("verify --heap opaque --format ktap", is: "dumb") == "")
  }
}
