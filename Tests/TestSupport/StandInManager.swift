import CHeapClient
import Foundation
import Glibc
package import HeapClient
package import LinuxHeaps
import SystemPackage

/// Stands in for a service manager: starts heapd again and again, and keeps its sockets and its store
/// meanwhile.
package final class StandInManager: @unchecked Sendable {
  package let folder: String
  package let store: DescriptorStore
  /// The heap that is served, and further arguments.
  package var arguments: [String]
  /// A program and its arguments that starts heapd, e.g. setpriv(1).
  package var prefix: [String] = []
  package var program: String
  /// Nil while no server runs.
  package private(set) var process: Int32?
  /// How often the servers before it were.
  private var readies = 0
  private let heapSocket: OwnedFD
  private let observerSocket: OwnedFD
  private let log: OwnedFD

  package var socket: String { folder + "/heap.sock" }

  package init(
    heap: String, _ habits: DescriptorStore.Habits = .init(), configuration: String? = nil
  )
    throws
  {
    folder = try Daemon.newFolder()
    store = try DescriptorStore(at: folder + "/notify", habits)
    program = try Program.path("heapd")
    arguments = ["--heap", heap]
    heapSocket = try Self.listen(at: folder + "/heap.sock")
    observerSocket = try Self.listen(at: folder + "/heap.sock.observer")
    let path = folder + "/log"
    log = OwnedFD(
      adopting: try call { unsafe open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0o666) })
    if let configuration {
      try configuration.write(toFile: folder + "/heapd.conf", atomically: true, encoding: .utf8)
      arguments += ["--config", folder + "/heapd.conf"]
    }
  }

  deinit {
    kill()
    store.end()
    try? FileManager.default.removeItem(atPath: folder)
  }

  private static func listen(at path: String) throws(Errno) -> OwnedFD {
    let socket = try SocketFile.bound(path, SOCK_SEQPACKET)
    let number = socket.rawValue
    _ = try call { Glibc.listen(number, 128) }
    return socket
  }

  // MARK: Starting

  /// What else a start may be like.
  package struct Start {
    /// `LISTEN_PID` is another process's.
    package var isMisaddressed = false
    /// Whether the server is told of a store at all.
    package var offersStore = true
    /// Sockets too, or only what the store has.
    package var passesSockets = true
    package var environment: [String: String] = [:]

    package init(
      isMisaddressed: Bool = false, offersStore: Bool = true, passesSockets: Bool = true,
      environment: [String: String] = [:]
    ) {
      self.isMisaddressed = isMisaddressed
      self.offersStore = offersStore
      self.passesSockets = passesSockets
      self.environment = environment
    }
  }

  /// Starts heapd, which gets the sockets and all that is in the store.
  package func start(_ start: Start = Start(), awaitsReady: Bool = true) throws {
    readies = store.readies
    let entries = store.entries
    var names = start.passesSockets ? ["heap", "observer"] : []
    var descriptors = start.passesSockets ? [heapSocket.rawValue, observerSocket.rawValue] : []
    names += entries.map(\.name)
    descriptors += entries.map { $0.file.fd.rawValue }
    var environment = ProcessInfo.processInfo.environment
    environment["LISTEN_FDS"] = "\(descriptors.count)"
    environment["LISTEN_FDNAMES"] = names.joined(separator: ":")
    environment["NOTIFY_SOCKET"] = store.path
    if start.offersStore { environment["FDSTORE"] = "4096" }
    environment.merge(start.environment) { $1 }
    // The descriptors must stay open meanwhile, whatever the store is told.
    try withExtendedLifetime(entries) {
      process = try spawn(descriptors, environment, pidOffset: start.isMisaddressed ? 1 : 0)
    }
    if awaitsReady { try waitUntilReady() }
  }

  private func spawn(
    _ descriptors: [CInt], _ environment: [String: String], pidOffset: CInt
  ) throws -> pid_t {
    let words = prefix + [program, "--socket", folder + "/own.sock"] + arguments
    let arguments = Self.list(words)
    let environment = Self.list(environment.map { "\($0.key)=\($0.value)" })
    var process = pid_t()
    // One more than are counted, so that there always is an address.
    let numbers = descriptors + [-1]
    let error = unsafe arguments.withUnsafeBufferPointer { arguments in
      unsafe environment.withUnsafeBufferPointer { environment in
        unsafe numbers.withUnsafeBufferPointer { numbers in
          var service = unsafe CHeapClient_service(
            arguments: arguments.baseAddress!, arguments_length: arguments.count,
            environment: environment.baseAddress!, environment_length: environment.count,
            descriptors: numbers.baseAddress!, count: descriptors.count, output: log.rawValue,
            pid_offset: pidOffset)
          return unsafe CHeapClient_start_service(&service, &process)
        }
      }
    }
    if error != 0 { throw Errno(rawValue: error) }
    return process
  }

  private static func list(_ strings: [String]) -> [CChar] {
    strings.flatMap { $0.utf8.map { CChar(bitPattern: $0) } + [0] }
  }

  package struct Silent: Error, CustomStringConvertible {
    package let description: String
  }

  /// Waits until heapd said so.
  package func waitUntilReady() throws {
    let isReady = eventually { store.readies > readies || !isRunning }
    guard isReady, store.readies > readies else {
      let ended = isRunning ? "is not ready" : "ended with wait status \(reap())"
      throw Silent(description: "heapd does not start, it \(ended): \(logText)")
    }
  }

  package var isRunning: Bool {
    guard let process else { return false }
    var information = unsafe siginfo_t()
    let answer = unsafe waitid(P_PID, id_t(process), &information, WEXITED | WNOHANG | WNOWAIT)
    return unsafe answer == 0 && information.si_signo == 0
  }

  // MARK: Ending

  /// Ends heapd at once, and reads what it said last.
  package func kill() {
    guard let process else { return }
    Glibc.kill(process, SIGKILL)
    _ = reap()
  }

  /// Ends heapd as a service manager does; answers its wait status.
  package func stop() -> CInt {
    guard let process else { return -1 }
    Glibc.kill(process, SIGTERM)
    return reap()
  }

  private func reap() -> CInt {
    var status: CInt = -1
    if let process { unsafe waitpid(process, &status, 0) }
    process = nil
    try? store.catchUp()
    return status
  }

  // MARK: Asking

  package var logText: String {
    (try? String(contentsOfFile: folder + "/log", encoding: .utf8)) ?? ""
  }

  package func connect() throws(HeapError) -> RemoteHeap { try RemoteHeap(socket: socket) }
}
