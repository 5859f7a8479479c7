package import Foundation

/// One run of heapctl, or of another program.
package struct Run: Equatable {
  package var output: String
  package var error: String
  package var status: Int32

  package init(output: String, error: String, status: Int32) {
    self.output = output
    self.error = error
    self.status = status
  }

  /// - Parameter through: A program and its arguments that starts heapctl, e.g. setpriv(1).
  package static func heapctl(
    _ arguments: String..., through prefix: [String] = [], input: FileHandle = .nullDevice
  ) throws -> Run {
    try heapctl(arguments, through: prefix, input: input)
  }

  package static func heapctl(
    _ arguments: [String], through prefix: [String] = [], input: FileHandle = .nullDevice
  ) throws -> Run {
    let words = prefix + [try Program.path("heapctl")] + arguments
    return try program(words[0], Array(words.dropFirst()), input: input)
  }

  /// Another program, e.g. a shell.
  package static func program(
    _ path: String, _ arguments: [String], input: FileHandle = .nullDevice
  ) throws -> Run {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
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
  package var json: [String: Any] {
    get throws {
      let object = try JSONSerialization.jsonObject(with: Data(output.utf8))
      return object as? [String: Any] ?? [:]
    }
  }
}

extension String {
  /// With the numbers that change from run to run replaced by words.
  package func withoutChangingNumbers() -> String {
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
