internal import HeapServer
internal import LinuxHeaps
internal import Logging

/// heapd's command line.
///
/// Read by hand: swift-argument-parser brings Foundation, which would be most of what the daemon keeps
/// in memory.
struct Options {
  enum Request { case serve, help, version }

  struct Fault: Error, CustomStringConvertible { let description: String }

  var request = Request.serve
  var socket = UnixAddress.heapService
  /// Nil for the socket's path and `.observer`.
  var observerSocket: String?
  var metricsSocket: String?
  var mode: UInt32 = 0o660
  var group: String?
  var heaps: [String] = []
  var configuration: String?
  var keepsDescriptors = false
  var logLevel = Logger.Level.notice

  static let usage =
    "usage: heapd [--socket PATH] [--heap auto|NAME…|udmabuf|hugetlb|memfd|opaque] [--config FILE]"
  static let help = """
    \(usage)

    Serves dma-buf heaps to processes that may not open them, by the Heap protocol.

      --socket PATH           where fuchsia.hardware.sysmem/Heap is served (/run/heapd/heap.sock)
      --observer-socket PATH  where linuxheaps/Observer is served (the socket's path and .observer)
      --metrics-socket PATH   where Prometheus' text is served, over HTTP; none by default
      --mode MODE             permission bits of the sockets, octal (0660)
      --group NAME            group of the sockets
      --heap NAME             auto (the kernel's heaps; memfd, with a warning, where none has a node
                              here), a node of /dev/dma_heap, hugetlb, udmabuf, memfd or opaque;
                              may be repeated: the next serves where one is full, udmabuf last
      --config FILE           limits and who may connect; read again on SIGHUP
      --store                 have the service manager keep the buffers while no server runs; for
                              units with FileDescriptorStoreMax= (from systemd 254 on it is known)
      --log-level LEVEL       trace debug info notice warning error critical (notice)
      --version, --help

    Sockets that the service manager hands over (LISTEN_FDS), named heap, observer and metrics, replace
    those of the paths. On SIGTERM it answers the requests under way and exits.

    Exit status:
    \(ExitStatus.table)
    """

  init(_ arguments: ArraySlice<String>) throws(Fault) {
    var rest = arguments
    while let word = rest.popFirst() {
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let option = String(parts[0])
      if option == "--help" || option == "-h" {
        request = .help
        return
      }
      if option == "--version" {
        request = .version
        return
      }
      if word == "--store" {
        keepsDescriptors = true
        continue
      }
      guard let setting = Self.settings[option] else {
        throw Fault(description: "unknown argument '\(word)'; see heapd --help")
      }
      guard let value = parts.count == 2 ? String(parts[1]) : rest.popFirst(), !value.isEmpty else {
        throw Fault(description: "\(option) requires a value")
      }
      do throws(Fault) { try setting(&self, value) } catch {
        throw Fault(description: "invalid value '\(value)' for \(option): expected \(error)")
      }
    }
    if heaps.isEmpty { heaps = ["auto"] }
    let paths = [socket, observerSocket ?? socket + ".observer", metricsSocket].compactMap { $0 }
    if Set(paths).count < paths.count {
      throw Fault(
        description: "--socket, --observer-socket and --metrics-socket require different paths")
    }
    if heaps.count > 1, heaps.contains("auto") {
      throw Fault(description: "--heap auto cannot be combined with other heaps")
    }
    if let fault = NamedHeap.misplacement(in: heaps) { throw Fault(description: fault) }
  }

  /// Takes a value, or throws what it expects.
  private typealias Setting = @Sendable (inout Options, String) throws(Fault) -> Void

  private static let settings: [String: Setting] = [
    "--socket": { $0.socket = $1 },
    "--observer-socket": { $0.observerSocket = $1 },
    "--metrics-socket": { $0.metricsSocket = $1 },
    "--group": { $0.group = $1 },
    "--heap": { $0.heaps.append(NamedHeap.name(of: $1)) },
    "--config": { $0.configuration = $1 },
    "--mode": { (options, value) throws(Fault) in
      guard let mode = UInt32(value, radix: 8), mode <= 0o777 else {
        throw Fault(description: "octal permission bits, e.g. 0660")
      }
      options.mode = mode
    },
    "--log-level": { (options, value) throws(Fault) in
      guard let level = Logger.Level(rawValue: value) else {
        throw Fault(description: Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))
      }
      options.logLevel = level
    },
  ]

  /// As the configuration file says it now.
  func policy() throws(HeapError) -> Policy {
    guard let configuration else { return try Policy() }
    return try Policy(file: configuration)
  }

  /// What was handed over, and files for the rest.
  func sockets(
    _ inherited: InheritedDescriptors, metricsPage: @escaping @Sendable () -> String
  ) throws(HeapError) -> HeapServer.Sockets {
    let heap = try listener(inherited.heapSocket, socket)
    let observer = try listener(inherited.observerSocket, observerSocket ?? socket + ".observer")
    var metrics = inherited.metricsSocket
    if metrics == nil, let metricsSocket {
      metrics = try Listener(at: metricsSocket, type: .stream, mode: mode, group: group)
    }
    return HeapServer.Sockets(
      heap: heap, observer: observer, metrics: metrics, metricsPage: metricsPage)
  }

  private func listener(_ inherited: Listener?, _ path: String) throws(HeapError) -> Listener {
    if let inherited { return inherited }
    return try Listener(at: path, mode: mode, group: group)
  }
}
