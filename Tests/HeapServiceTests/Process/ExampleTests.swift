import Foundation
import LinuxHeaps
import TestSupport
import Testing

/// The programs of the folder Examples, built beside this test.
@Suite struct ExampleTests {
  private static func program(_ name: String) throws -> String {
    let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent(name)
      .path
  }

  @Test(.timeLimit(.minutes(5)))
  func `two processes share a swap chain`() throws {
    let folder = try TemporaryFolder()
    let (program, path) = (try Self.program("swap-chain"), folder.path + "/chain")
    let painter = Process()
    painter.executableURL = URL(fileURLWithPath: program)
    painter.arguments = ["paint", path]
    let output = Pipe()
    painter.standardOutput = output
    try painter.run()
    defer { painter.kill() }
    try #require(eventually { FileManager.default.fileExists(atPath: path) })
    let show = try ProgramRun(words: [program, "show", path])
    let frames = (0..<6).map { index in
      "buffer \(index % 3) shows \([UInt8](repeating: UInt8(index + 1), count: 4))\n"
    }
    #expect(show.output == frames.joined(), "\(show.error)")
    #expect(show.status == 0)
    let end = output.fileHandleForReading.readDataToEndOfFile()
    #expect(String(decoding: end, as: UTF8.self) == "all buffers are back\n")
    painter.waitUntilExit()
    #expect(painter.terminationStatus == 0)
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func `a client uses a heap of heapd's, and says where there is none`() throws {
    let daemon = try Daemon()
    let program = try Self.program("heap-client")
    let run = try ProgramRun(words: [program, daemon.socket])
    #expect(run.output == "a memfd of 1 MiB: written by a client\ngiven back\n")
    #expect(run.status == 0 && run.error == "")
    daemon.kill()
    let refused = try ProgramRun(words: [program, daemon.socket])
    #expect(refused.status == 1)
    #expect(
      refused.output.contains("To fix it: start the service: heapd --socket \(daemon.socket)"))
  }

  @Test func `an example has at most 60 lines`() throws {
    let folder = Daemon.repository + "/Examples"
    let files = try FileManager.default.subpathsOfDirectory(atPath: folder)
      .filter { $0.hasSuffix(".swift") }
    #expect(files.count == 3)
    for file in files {
      let text = try String(contentsOfFile: folder + "/" + file, encoding: .utf8)
      #expect(text.split(separator: "\n", omittingEmptySubsequences: false).count <= 61, "\(file)")
    }
  }
}
