import Foundation
import TestSupport
import Testing

/// A terminal, which script(1) is.
enum Terminal {
  /// What it gets as heapctl's standard error, while standard output goes elsewhere.
  ///
  /// - Parameter kind: What `TERM` says.
  static func error(_ arguments: String, kind: String = "xterm") throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/script")
    let command = "TERM=\(kind) '\(try Program.path("heapctl"))' \(arguments) > /dev/null"
    process.arguments = ["--quiet", "--return", "--command", command, "/dev/null"]
    process.standardInput = FileHandle.nullDevice
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let bytes = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return String(decoding: bytes, as: UTF8.self)
  }
}
