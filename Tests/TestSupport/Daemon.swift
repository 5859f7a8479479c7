package import Foundation
import Glibc
import HeapClient
import LinuxHeaps
import SystemPackage

/// A heapd of this build, in a folder of its own; it ends with this value.
package final class Daemon: @unchecked Sendable {
  package let folder: String
  package let process = Process()
  private let errors = Pipe()

  package var socket: String { folder + "/heap.sock" }
  package var observer: String { socket + ".observer" }

  /// - Parameters:
  ///   - configuration: The text of its configuration file.
  ///   - openFolder: Lets other users reach the sockets.
  ///   - prefix: A program and its arguments that starts it, e.g. prlimit(1).
  ///   - environment: Added to this process's own.
  package init(
    heap: [String] = ["memfd"], configuration: String? = nil, arguments: [String] = [],
    through prefix: [String] = [], environment: [String: String] = [:], folder: String? = nil,
    openFolder: Bool = false
  ) throws {
    self.folder = try folder ?? Self.newFolder()
    if openFolder { _ = unsafe chmod(self.folder, 0o755) }
    var words = prefix + [try Program.path("heapd"), "--socket", self.folder + "/heap.sock"]
    words += heap.flatMap { ["--heap", $0] } + arguments
    if let configuration {
      let path = self.folder + "/heapd.conf"
      try configuration.write(toFile: path, atomically: true, encoding: .utf8)
      words += ["--config", path]
    }
    process.executableURL = URL(fileURLWithPath: words[0])
    process.arguments = Array(words.dropFirst())
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    _ = FileManager.default.createFile(atPath: self.folder + "/log", contents: nil)
    let log = try FileHandle(forWritingTo: URL(fileURLWithPath: self.folder + "/log"))
    try log.seekToEnd()
    process.standardError = log
    process.standardOutput = log
    try process.run()
    try waitUntilItAnswers()
  }

  package static func newFolder() throws -> String {
    let path = NSTemporaryDirectory() + "heapd-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    return path
  }

  /// The package's folder.
  package static let repository = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

  private func waitUntilItAnswers() throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline, process.isRunning {
      do throws(HeapError) {
        _ = try RemoteHeap(socket: socket)
        return
      } catch  where error.code == .notFound || error.errno == .connectionRefused {
        usleep(2_000)
      } catch {
        // It answers, if only with a refusal.
        return
      }
    }
    throw Silent(log: log)
  }

  package struct Silent: Error, CustomStringConvertible {
    package let log: String
    package var description: String { "heapd does not answer: \(log)" }
  }

  package var log: String { (try? String(contentsOfFile: folder + "/log", encoding: .utf8)) ?? "" }

  package var identifier: pid_t { process.processIdentifier }

  package func kill() { process.kill() }

  /// Ends it as a service manager does; answers its exit status.
  package func stop() -> Int32 {
    process.terminate()
    process.waitUntilExit()
    return process.terminationStatus
  }

  deinit {
    if process.isRunning { kill() }
    try? FileManager.default.removeItem(atPath: folder)
  }
}
