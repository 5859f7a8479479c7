internal import BuildFacts
internal import CLibrary
internal import CLinuxHeaps
internal import CoreMetrics
internal import HeapPool
internal import HeapServer
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// The heap service (see `heapd --help`).
@main
enum Heapd {
  static func main() {
    StandardDescriptors.fillGaps()
    StandardDescriptors.ignoreSizeLimit()
    let options: Options
    let words: [String]
    do throws(HeapError) { words = try ProgramArguments.read() } catch { end(error) }
    do throws(Options.Fault) { options = try Options(words.dropFirst()) } catch {
      tell("heapd: \(error.description)\n\(Options.usage)")
      exit(ExitStatus.wrongUsage.rawValue)
    }
    switch options.request {
    case .help: exit(show(Options.help))
    case .version: exit(show(BuildFacts.text(of: "heapd")))
    case .serve: break
    }
    do throws(HeapError) { try serve(options) } catch { end(error) }
  }

  private static func end(_ error: HeapError) -> Never {
    tell("heapd: \("\(error)".visible)")
    exit(ExitStatus(error.code).rawValue)
  }

  private static func serve(_ options: Options) throws(HeapError) {
    // A live buffer takes 410 bytes with it, and 600 without.
    CLinuxHeaps_unmap_large_memory()
    // By their numbers, so before any other is opened.
    let inherited = InheritedDescriptors()
    let level = options.logLevel
    let lines = try LogLines()
    defer { lines.finish() }
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler(label: label, stream: lines)
      handler.logLevel = level
      return handler
    }
    // Where nobody reads its log any more the next line would end it.
    _ = signal(SIGPIPE, SIG_IGN)
    let log = Logger(label: "heapd")
    let metrics = PrometheusMetrics()
    MetricsSystem.bootstrap(metrics)
    // Its faults come before anything is made.
    let policy = try options.policy()
    let signals = try Signals { () throws(HeapError) in try options.policy() }
    let heap = try chosenHeap(options.heaps)
    for name in inherited.unknown { log.warning("unknown descriptor closed: \(name)") }
    // A manager that hands over what it kept can be told to let go of it.
    let manager = try ServiceManager(
      keepsDescriptors: options.keepsDescriptors || !inherited.buffers.isEmpty)
    let sockets = try options.sockets(inherited) { metrics.text() }
    let memory = try heap.make(pool: policy.pool, from: options.configuration)
    if let pool = memory as? PooledHeap, !pool.hearsOfPressure {
      log.notice(
        "the kernel does not tell of memory pressure: the pool goes after its idle time, and before a request is refused"
      )
    }
    let server = try HeapServer(
      sockets: sockets, policy: policy, manager: manager, inherited: inherited.buffers, log: log,
      heap: memory,
      heapName: heap.names.isEmpty ? "dma-buf" : heap.names.joined(separator: ", "),
      nodes: heap.nodes)
    // It needs no other than to load, and clients' messages are read from here on.
    do throws(Errno) { _ = try call { CLinuxHeaps_drop_bpf_capabilities() } } catch {
      throw HeapError(
        error, "give up CAP_BPF and CAP_PERFMON", at: "capset(2)",
        fix: "let the unit's SystemCallFilter= allow capset, or do not give them: events = off")
    }
    try lines.start()
    // Devices cannot import what serves where nobody chose it.
    let isStandIn = options.heaps == ["auto"] && heap.isBuiltIn
    log.log(
      level: isStandIn ? .warning : .notice, "serving \(heap.reason)",
      metadata: inherited.heapSocket == nil ? ["socket": "\(options.socket)"] : nil)
    try server.run(signals)
  }

  /// - Parameter names: As on the command line: `auto`, one of those built in, or names of nodes.
  private static func chosenHeap(_ names: [String]) throws(HeapError) -> NamedHeap {
    guard names == ["auto"] else {
      let heap = NamedHeap(names)
      try heap.check("serve")
      return heap
    }
    let heap = try NamedHeap()
    // Heaps that are there and closed: clients would get other memory for as long as the server runs. At boot
    // the nodes are open only once udev has come to them.
    let operation = "serve the kernel's heaps, or --heap memfd"
    if let refusal = heap.refusalIfClosed(operation) { throw refusal }
    return heap
  }

  private static func tell(_ text: String) {
    _ = try? FileDescriptor.standardError.writeAll((text + "\n").utf8)
  }

  /// Answers how the program ends: what was asked for is this text.
  private static func show(_ text: String) -> CInt {
    do {
      try FileDescriptor.standardOutput.writeAll((text + "\n").utf8)
      return ExitStatus.success.rawValue
    } catch {
      // What writeAll(_:) throws is one.
      let loss = StandardDescriptors.loss(STDOUT_FILENO, error as? Errno ?? .ioError)
      tell("heapd: \(loss)")
      return ExitStatus.failure.rawValue
    }
  }
}

extension NamedHeap {
  /// - Parameter path: Of the configuration that has the pool's settings.
  fileprivate func make(
    pool: PoolSettings, from path: String?
  ) throws(HeapError) -> any LocalHeap {
    let heap = make()
    if pool.byteCount == 0 { return heap }
    // Without a node there are huge pages and udmabufs alone.
    guard let heap = heap as? DMABufHeap, !nodes.isEmpty else {
      throw HeapError(
        .notSupported, "keep a pool of \(pool.byteCount.asByteCount)", at: path,
        cause: "heap \(names[0]) is none of the kernel's, of which alone buffers are kept",
        fix: "take pool-bytes out, or serve a node of /dev/dma_heap")
    }
    return PooledHeap(heap, pool)
  }
}
