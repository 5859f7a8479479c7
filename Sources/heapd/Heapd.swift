internal import CoreMetrics
internal import Glibc
internal import HeapServer
internal import LinuxHeaps
internal import Logging
internal import PrometheusText
internal import ServiceLifecycle
internal import UnixSignals

/// The heap service (see `heapd --help`).
@main
enum Heapd {
  static func main() async {
    let options: Options
    do throws(Options.Fault) { options = try Options(CommandLine.arguments.dropFirst()) } catch {
      tell("heapd: \(error.description)\n\(Options.usage)")
      exit(EX_USAGE)
    }
    switch options.request {
    case .help: return show(Options.help)
    case .version: return show("heapd \(Options.version)")
    case .serve: break
    }
    do throws(HeapError) { try await serve(options) } catch {
      tell("heapd: \(error)")
      exit(error.code == .accessDenied ? EX_NOPERM : EX_UNAVAILABLE)
    }
  }

  private static func serve(_ options: Options) async throws(HeapError) {
    let level = options.logLevel
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler.standardError(label: label)
      handler.logLevel = level
      return handler
    }
    let log = Logger(label: "heapd")
    let registry = PrometheusRegistry(help: MetricsHelp.texts)
    MetricsSystem.bootstrap(registry)
    let policy = try options.configuration.map { path throws(HeapError) in try Policy(file: path) }
    let choice = try HeapSelection(options.heaps)
    log.notice("serving \(choice.reason)")
    var inherited = InheritedDescriptors()
    for name in inherited.unknown { log.warning("unknown descriptor closed: \(name)") }
    let sockets = try options.sockets(&inherited) { registry.text() }
    let server = try HeapServer(
      sockets: sockets, policy: policy ?? Policy(),
      manager: ServiceManager(keepsDescriptors: options.keepsDescriptors),
      inherited: inherited.buffers, log: log, heapName: choice.name,
      makeHeap: choice.make)
    try await run(server, options, log)
  }

  private static func run(
    _ server: HeapServer, _ options: Options, _ log: Logger
  ) async throws(HeapError) {
    let serving = Serving(server: server)
    var services: [any Service] = [serving]
    if let path = options.configuration {
      services.append(Reloading(server: server, configuration: path, log: log))
    }
    let group = ServiceGroup(
      configuration: .init(
        services: services.map {
          .init(
            service: $0, successTerminationBehavior: .gracefullyShutdownGroup,
            failureTerminationBehavior: .gracefullyShutdownGroup)
        },
        gracefulShutdownSignals: [.sigterm, .sigint], logger: Logger(label: "heapd.lifecycle")))
    do { try await group.run() } catch let error as HeapError { throw error } catch {
      throw HeapError(.internal, "serve", cause: "\(error)")
    }
  }

  private static func tell(_ text: String) { write(text, to: STDERR_FILENO) }

  private static func show(_ text: String) { write(text, to: STDOUT_FILENO) }

  private static func write(_ text: String, to descriptor: CInt) {
    let bytes = Array((text + "\n").utf8)
    _ = unsafe Glibc.write(descriptor, bytes, bytes.count)
  }
}
