import Foundation

/// One run of the heapctl that was built beside this test.
struct Run: Equatable {
  var output: String
  var error: String
  var status: Int32

  /// - Parameter through: A program and its arguments that starts heapctl, e.g. setpriv(1).
  static func heapctl(
    _ arguments: String..., through prefix: [String] = [], input: FileHandle = .nullDevice
  ) throws -> Run {
    try heapctl(arguments, through: prefix, input: input)
  }

  static func heapctl(
    _ arguments: [String], through prefix: [String] = [], input: FileHandle = .nullDevice
  ) throws -> Run {
    let process = Process()
    let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let heapctl = URL(fileURLWithPath: bundle).deletingLastPathComponent()
      .appendingPathComponent("heapctl").path
    let words = prefix + [heapctl] + arguments
    process.executableURL = URL(fileURLWithPath: words[0])
    process.arguments = Array(words.dropFirst())
    process.standardInput = input
    let output = Pipe()
    let error = Pipe()
    process.standardOutput = output
    process.standardError = error
    try process.run()
    // heapctl writes less than a pipe holds to standard error, so one after the other is safe.
    let outputBytes = output.fileHandleForReading.readDataToEndOfFile()
    let errorBytes = error.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Run(
      output: String(decoding: outputBytes, as: UTF8.self),
      error: String(decoding: errorBytes, as: UTF8.self), status: process.terminationStatus)
  }

  /// What the JSON on standard output says.
  var json: [String: Any] {
    get throws {
      let object = try JSONSerialization.jsonObject(with: Data(output.utf8))
      return object as? [String: Any] ?? [:]
    }
  }
}

extension String {
  /// With the numbers that change from run to run replaced by words.
  func withoutChangingNumbers() -> String {
    var text = self
    for (pattern, word) in [
      ("process [0-9]+", "process N"), ("inode [0-9]+", "inode N"), ("lh:[0-9a-z]+", "lh:ID"),
      ("on Linux [^\n]+", "on Linux R"),
    ] {
      text = text.replacingOccurrences(of: pattern, with: word, options: .regularExpression)
    }
    return text
  }
}
