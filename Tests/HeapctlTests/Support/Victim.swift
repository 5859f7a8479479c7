import Foundation
import TestSupport

/// A heapctl that is to be killed, with the processes that it starts.
final class Victim {
  private let process = Process()
  private let error = Pipe()
  /// In its environment, which its children inherit.
  private let mark = "LINUXHEAPS_VICTIM=\(UUID().uuidString)"

  init(_ arguments: [String]) throws {
    process.executableURL = URL(fileURLWithPath: try Program.path("heapctl"))
    process.arguments = arguments
    var environment = ProcessInfo.processInfo.environment
    let words = mark.split(separator: "=").map(String.init)
    environment[words[0]] = words[1]
    process.environment = environment
    // `alloc --hold` waits for its end, which never comes.
    process.standardInput = Pipe()
    process.standardOutput = FileHandle.nullDevice
    process.standardError = error
    try process.run()
  }

  /// By /proc, for Foundation takes a process for ended only when its children are too.
  var isRunning: Bool { state.map { !["Z", "X"].contains($0) } ?? false }

  /// What it said before it ended.
  var complaint: String {
    String(decoding: error.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  }

  /// The inodes of the buffers, and of memory that serves as such, that it has open.
  var buffers: Set<UInt64> {
    let folder = "/proc/\(process.processIdentifier)/fd"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return Set(
      names.compactMap { name in
        let path = "\(folder)/\(name)"
        guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path),
          target.hasPrefix("/dmabuf:") || target.hasPrefix("/memfd:")
        else { return nil }
        var status = stat()
        return unsafe stat(path, &status) == 0 ? UInt64(status.st_ino) : nil
      })
  }

  /// Kills it where it is: the buffers that it had at that moment.
  func kill() -> Set<UInt64> {
    Foundation.kill(process.processIdentifier, SIGSTOP)
    while isRunning && state?.uppercased() != "T" { usleep(200) }
    let held = buffers
    Foundation.kill(process.processIdentifier, SIGKILL)
    while isRunning { usleep(200) }
    return held
  }

  /// The processes that it left behind.
  var survivors: [String] {
    let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return processes.filter { process in
      guard process.first?.isNumber == true,
        let words = try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(process)/environ"))
      else { return false }
      return String(decoding: words, as: UTF8.self).split(separator: "\0").contains {
        $0 == mark
      }
    }
  }

  private var state: String? { ProcessState(process.processIdentifier)?.letter }
}
