internal import FuzzSessions
internal import Glibc
internal import HeapServer
package import LinuxHeaps
internal import Logging
internal import SystemPackage

/// A server of memfd buffers in this process, and clients that do what an input says.
package final class FuzzedServer: Sendable {
  private let folder: String
  private let server: HeapServer
  /// Descriptors of this process without clients.
  private let openAtRest: Int

  package init() throws(HeapError) {
    var template = Array("/tmp/linux-heaps-fuzz-XXXXXX".utf8CString)
    guard let name = unsafe mkdtemp(&template) else {
      throw HeapError(Errno(rawValue: errno), "make a folder", at: "/tmp")
    }
    let folder = unsafe String(cString: name)
    self.folder = folder
    var policy = try Policy()
    // A client that sent its own end over a pair of sockets hangs up only when its time is over.
    policy.limits.stall = 100
    server = try HeapServer(
      sockets: HeapServer.Sockets(
        heap: Listener(at: folder + "/heap"), observer: Listener(at: folder + "/observer"),
        metrics: Listener(at: folder + "/metrics", type: .stream), metricsPage: { "fuzz 1\n" }),
      policy: policy, log: Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() },
      heap: MemfdHeap(),
      heapName: "memfd")
    let server = self.server
    do throws(Errno) {
      try KernelThread.start("fuzzed-server") {
        do throws(HeapError) { try server.run() } catch { fatalError("\(error)") }
      }
    } catch {
      throw HeapError(error, "start a thread")
    }
    // What the first request opens for good is open then.
    guard unsafe Fuzz_is_served(folder) else {
      throw HeapError(.ioError, "start the server", at: folder)
    }
    var (before, now) = (-1, Fuzz_open_descriptors())
    while before != now {
      usleep(100_000)
      (before, now) = (now, Fuzz_open_descriptors())
    }
    openAtRest = now
  }

  /// - Parameter steps: Is increased by what was done.
  /// - Returns: What is wrong; nil where a newcomer is served, and nothing of the clients' is left.
  package func fault(after input: [UInt8], steps: inout Int) -> String? {
    steps += unsafe Fuzz_session(folder, input, input.count)
    if unsafe !Fuzz_is_served(folder) { return "a newcomer is not served" }
    for _ in 0..<10_000 {
      if Fuzz_open_descriptors() <= openAtRest { return nil }
      usleep(1_000)
    }
    Fuzz_show_descriptors()
    return "\(Fuzz_open_descriptors()) descriptors are open, and \(openAtRest) were before"
  }

  deinit {
    server.stop()
    // The server removes its sockets as it ends.
    for _ in 0..<1_000 {
      if unsafe rmdir(folder) == 0 { return }
      usleep(1_000)
    }
  }
}
