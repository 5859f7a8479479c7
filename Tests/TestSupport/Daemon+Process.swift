import Foundation
package import Testing

// What the kernel tells of the server's process (proc(5)).

extension Daemon {
  /// Open descriptors, without what heaps keep open from one buffer to the next.
  package var descriptorCount: Int {
    get throws { try ProcessFiles.list(of: identifier).count }
  }

  /// The same when no report is open any more: one stays for a moment after its reader has closed it.
  package var descriptorCountAtRest: Int {
    get throws {
      var files: [String] = []
      let isAtRest = try eventually {
        files = try ProcessFiles.list(of: identifier)
        return !files.contains(where: ProcessFiles.isPassing)
      }
      #expect(isAtRest)
      return files.count
    }
  }

  /// Seconds of processor time so far.
  package var processorTime: Double {
    get throws {
      let text = try String(contentsOfFile: "/proc/\(identifier)/stat", encoding: .utf8)
      // The second field, in parentheses, may have spaces in it; utime and stime are 14 and 15.
      let fields = text.components(separatedBy: ") ").last!.split(separator: " ")
      return Double(Int(fields[11])! + Int(fields[12])!) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }
  }

  /// It takes up nothing until ``resume()``.
  package func pause() { Glibc.kill(identifier, SIGSTOP) }

  package func resume() { Glibc.kill(identifier, SIGCONT) }

  /// Waits until nobody is connected and nothing is kept but what an idle server has.
  package func settledDescriptorCount() throws -> Int {
    let observer = try WireClient.observer(self)
    let isAlone = try eventually { try observer.status().isAlone(1) }
    #expect(isAlone)
    // Less this connection: an observer's is a socket, and its process is not watched.
    return try descriptorCountAtRest - 1
  }

  package func expectDescriptorCount(
    _ count: Int, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    var last = 0
    let isReached = try eventually {
      last = try descriptorCount
      return last == count
    }
    #expect(isReached, "\(last) descriptors, not \(count)", sourceLocation: sourceLocation)
  }

  /// Waits for a line of the log; only a failure waits long.
  package func expectLog(
    _ words: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try expectLog(words, sourceLocation: sourceLocation)
  }

  package func expectLog(
    _ words: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let isThere = eventually {
      log.split(separator: "\n").contains { line in words.allSatisfy { line.contains($0) } }
    }
    #expect(isThere, "no line with \(words) in:\n\(log)", sourceLocation: sourceLocation)
  }
}
