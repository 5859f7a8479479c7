import Foundation
import TestSupport

/// One run of a program of this build, from start to end.
struct ProgramRun {
  let output: String
  let error: String
  let status: Int32

  init(_ program: String, _ arguments: [String]) throws {
    try self.init(words: [Program.path(program)] + arguments)
  }

  init(words: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: words[0])
    process.arguments = Array(words.dropFirst())
    process.standardInput = FileHandle.nullDevice
    let (output, error) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = error
    try process.run()
    // Only a failure takes so long. A cancelled item lives until its time all the same; the pipes must not.
    let watchdog = DispatchWorkItem { [weak process] in process?.kill() }
    DispatchQueue.global().asyncAfter(deadline: .now() + 120, execute: watchdog)
    defer { watchdog.cancel() }
    // Less than a pipe holds goes to standard error, so one after the other is safe.
    let outputBytes = output.fileHandleForReading.readDataToEndOfFile()
    let errorBytes = error.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    self.output = String(decoding: outputBytes, as: UTF8.self)
    self.error = String(decoding: errorBytes, as: UTF8.self)
    status = process.terminationStatus
  }
}
