import Foundation
import TestSupport

/// A heapctl that shows a picture until it is told to end.
final class Shown {
  private let process = Process()
  private let output = Pipe()
  private let error = Pipe()
  /// What it says once the picture is there.
  let json: [String: Any]

  /// Returns when the picture is on the screen; nil where heapctl ended instead.
  init?(_ arguments: String...) throws {
    process.executableURL = URL(fileURLWithPath: try Program.path("heapctl"))
    process.arguments = ["show", "--json"] + arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = error
    try process.run()
    var text = Data()
    // The report's last line is the only one that is a brace alone.
    while !String(decoding: text, as: UTF8.self).hasSuffix("\n}\n") {
      let piece = output.fileHandleForReading.availableData
      if piece.isEmpty { return nil }
      text += piece
    }
    let object = try JSONSerialization.jsonObject(with: text) as? [String: Any]
    json = object?["show"] as? [String: Any] ?? [:]
  }

  /// Ends it by a signal: what it said on standard error, and how it ended.
  func end(by signal: CInt) -> (error: String, status: CInt, wasKilled: Bool) {
    kill(process.processIdentifier, signal)
    let said = error.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (
      String(decoding: said, as: UTF8.self), process.terminationStatus,
      process.terminationReason == .uncaughtSignal
    )
  }
}
