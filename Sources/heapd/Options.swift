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
  var socket = "/run/heapd/heap.sock"
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
    "usage: heapd [--socket PATH] [--heap auto|NAME…|udmabuf|memfd|opaque] [--config FILE]"
  static let help = """
    \(usage)

    Serves dma-buf heaps to processes that may not open them, by the Heap protocol.

      --socket PATH           where fuchsia.hardware.sysmem/Heap is served (/run/heapd/heap.sock)
      --observer-socket PATH  where linuxheaps/Observer is served (the socket's path and .observer)
      --metrics-socket PATH   where Prometheus' text is served, over HTTP; none by default
      --mode MODE             permission bits of the sockets, octal (0660)
      --group NAME            group of the sockets
      --heap NAME             auto (the kernel's heaps, or memfd where it has none), a node of
                              /dev/dma_heap, udmabuf, memfd or opaque; may be repeated
      --config FILE           limits and who may connect; read again on SIGHUP
      --store                 have the service manager keep the buffers while no server runs; for
                              units with FileDescriptorStoreMax= (from systemd 254 on it is known)
      --log-level LEVEL       trace debug info notice warning error critical (notice)
      --version, --help

    Sockets that the service manager hands over (LISTEN_FDS), named heap, observer and metrics, take the
    place of paths. SIGTERM ends it when what is under way is answered.
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
        throw Fault(description: "unknown argument '\(word)'; heapd --help tells all options")
      }
      guard let value = parts.count == 2 ? String(parts[1]) : rest.popFirst(), !value.isEmpty else {
        throw Fault(description: "\(option) wants a value")
      }
      if let wanted = setting(&self, value) {
        throw Fault(description: "'\(value)' is no value of \(option): write \(wanted)")
      }
    }
    if heaps.isEmpty { heaps = ["auto"] }
    if heaps.count > 1, let alone = heaps.first(where: Self.standAlone.contains) {
      throw Fault(description: "--heap \(alone) stands alone, not in a list of heaps")
    }
  }

  private static let standAlone = ["auto", MemfdHeap.name, UDMABufHeap.name, OpaqueHeap.name]

  /// Takes a value, or answers what it would take.
  private typealias Setting = @Sendable (inout Options, String) -> String?

  private static let settings: [String: Setting] = [
    "--socket": set { $0.socket = $1 },
    "--observer-socket": set { $0.observerSocket = $1 },
    "--metrics-socket": set { $0.metricsSocket = $1 },
    "--group": set { $0.group = $1 },
    "--heap": set { $0.heaps.append($1) },
    "--config": set { $0.configuration = $1 },
    "--mode": { options, value in
      guard let mode = UInt32(value, radix: 8), mode <= 0o777 else {
        return "octal permission bits, e.g. 0660"
      }
      options.mode = mode
      return nil
    },
    "--log-level": { options, value in
      guard let level = Logger.Level(rawValue: value) else {
        return Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
      }
      options.logLevel = level
      return nil
    },
  ]

  private static func set(_ set: @escaping @Sendable (inout Options, String) -> Void) -> Setting {
    { options, value in
      set(&options, value)
      return nil
    }
  }

  /// As the configuration file says it now.
  func policy() throws(HeapError) -> Policy {
    guard let configuration else { return Policy() }
    return try Policy(file: configuration)
  }

  /// What was handed over, and files for the rest.
  func sockets(
    _ inherited: inout InheritedDescriptors, metricsPage: @escaping @Sendable () -> String
  ) throws(HeapError) -> HeapServer.Sockets {
    HeapServer.Sockets(
      heap: try listener(inherited.takeHeapSocket(), socket),
      observer: try listener(
        inherited.takeObserverSocket(), observerSocket ?? socket + ".observer"),
      metrics: try metricsListener(inherited.takeMetricsSocket()), metricsPage: metricsPage)
  }

  private func metricsListener(
    _ inherited: consuming Listener?
  ) throws(HeapError) -> Listener? {
    switch consume inherited {
    case .some(let listener): return listener
    case .none:
      guard let metricsSocket else { return nil }
      return try Listener(at: metricsSocket, type: .stream, mode: mode, group: group)
    }
  }

  private func listener(
    _ inherited: consuming Listener?, _ path: String
  ) throws(HeapError) -> Listener {
    switch consume inherited {
    case .some(let listener): listener
    case .none: try Listener(at: path, mode: mode, group: group)
    }
  }
}
