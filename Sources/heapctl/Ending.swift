internal import ArgumentParser
internal import Glibc
internal import LinuxHeaps

/// How heapctl ends, by sysexits(3).
enum Ending {
  static let refused = ExitCode(1)
  static let wrongUsage = ExitCode(EX_USAGE)
  static let noHeap = ExitCode(EX_UNAVAILABLE)
  static let noPermission = ExitCode(EX_NOPERM)
}

/// Says what went wrong and ends with the status for it.
func reporting<Result: ~Copyable>(_ body: () async throws -> Result) async throws -> Result {
  do {
    return try await body()
  } catch let error as HeapError {
    complain("\(error)")
    switch error.code {
    case .accessDenied: throw Ending.noPermission
    case .notFound, .notSupported: throw Ending.noHeap
    default: throw Ending.refused
    }
  } catch let fault as FileFault {
    complain("\(fault)")
    throw fault.isForbidden ? Ending.noPermission : Ending.refused
  }
}

/// What went wrong, on standard error.
func complain(_ words: String) { tell("\("heapctl:".painted(.bad, on: .error)) \(words)") }

/// A line on standard error.
func tell(_ line: String) { write(line, to: STDERR_FILENO) }

/// A line on standard output.
func show(_ line: String) { write(line, to: STDOUT_FILENO) }

/// At once, whatever the output is: lines of two processes shall come in their order.
private func write(_ line: String, to descriptor: CInt) {
  var bytes = ArraySlice((line + "\n").utf8)
  while !bytes.isEmpty {
    let count = unsafe bytes.withUnsafeBytes {
      unsafe Glibc.write(descriptor, $0.baseAddress!, $0.count)
    }
    if count < 0 && errno != EINTR { return }
    bytes = bytes.dropFirst(max(count, 0))
  }
}
