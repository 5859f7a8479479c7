import Foundation
import TestSupport

/// A `heapctl alloc --hold` that holds one buffer of 1 MiB until this value goes.
final class HoldingProcess {
  private let process = Process()
  private let input = Pipe()
  /// What it tells of its buffer.
  let buffer: [String: Any]

  var id: Int32 { process.processIdentifier }

  init(_ heap: String) throws {
    // Foundation's pipes are inherited by what others start: this end there would keep the process from
    // seeing its close here.
    _ = fcntl(input.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
    let output = Pipe()
    let error = Pipe()
    process.executableURL = URL(fileURLWithPath: try Program.path("heapctl"))
    process.arguments = ["alloc", "--size", "1M", "--heap", heap, "--json", "--hold"]
    process.standardInput = input
    process.standardOutput = output
    process.standardError = error
    try process.run()
    var said = ""
    while !said.contains("held by process") {
      let more = error.fileHandleForReading.availableData
      guard !more.isEmpty else { throw Failed(said: said) }
      said += String(decoding: more, as: UTF8.self)
    }
    // It said so after it wrote the JSON.
    let text = output.fileHandleForReading.availableData
    let json = try JSONSerialization.jsonObject(with: text) as? [String: Any]
    buffer = json?["buffer"] as? [String: Any] ?? [:]
  }

  struct Failed: Error { let said: String }

  /// How it ended.
  @discardableResult
  func end() -> Int32 {
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
    return process.terminationStatus
  }

  deinit { end() }
}
