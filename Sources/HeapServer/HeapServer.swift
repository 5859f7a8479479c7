internal import CLibrary
internal import CLinuxHeaps
internal import HeapSurvey
public import LinuxHeaps
public import Logging
internal import SystemPackage

/// Serves a heap to other processes, by the Heap protocol.
///
/// One thread waits for all clients (epoll(7)); what the kernel may take long about runs on others.
/// The server keeps the parents of buffers, and never a child.
public final class HeapServer: Sendable {
  /// Where the clients are.
  public struct Sockets: Sendable {
    let heap: Listener
    let observer: Listener
    let metrics: Listener?
    let metricsPage: @Sendable () -> String

    /// - Parameters:
    ///   - heap: For `fuchsia.hardware.sysmem/Heap`.
    ///   - observer: For `linuxheaps/Observer`.
    ///   - metrics: For whoever scrapes; a stream socket.
    ///   - metricsPage: What is answered there, in Prometheus' text format.
    public init(
      heap: Listener, observer: Listener, metrics: Listener? = nil,
      metricsPage: @escaping @Sendable () -> String = { "" }
    ) {
      self.heap = heap
      self.observer = observer
      self.metrics = metrics
      self.metricsPage = metricsPage
    }
  }

  private let sockets: Sockets
  private let heapName: String
  private let nodes: [String]
  private let heap: any LocalHeap
  private let policy: Policy
  private let manager: ServiceManager?
  private let inherited: Guarded<[InheritedBuffer]>
  private let log: Logger
  private let mailbox: Mailbox
  /// Nil where dma-bufs' counts are read by the clock.
  private let closes: DMABufCloses?
  /// Nil where it cannot be told.
  private let kernelCharges: Bool?

  /// Loads BPF programs where it may (``Policy/hearsCloses``). A program that has CAP_BPF and CAP_PERFMON for this can drop
  /// both when this returns.
  ///
  /// - Parameters:
  ///   - sockets: Where the clients are.
  ///   - policy: What they may have, ``Policy/init()`` where nil; ``reload(_:)`` changes it.
  ///   - log: Where refusals and the server's own troubles go.
  ///   - heap: Makes the memory. What is served stands in the server's own table, and not in the heap's `buffers`.
  ///   - heapName: What the status calls the heap.
  ///   - nodes: The names in `/dev/dma_heap` in whose place it can serve programs that open those
  ///     (`HeapIdentifier.heapType`).
  ///   - manager: The service manager that started this process; it may keep the buffers' parents.
  ///   - inherited: What a server before this one had the manager keep.
  /// - Throws: `noResources` where the process may open no more files; without `policy` what ``Policy/init()`` does.
  public init(
    sockets: Sockets, policy: Policy? = nil, manager: ServiceManager? = nil,
    inherited: [InheritedBuffer] = [], log: Logger = Logger(label: "heapd"),
    heap: any LocalHeap, heapName: String, nodes: [String] = []
  ) throws(HeapError) {
    let policy = if let policy { policy } else { try Policy() }
    self.sockets = sockets
    self.policy = policy
    self.manager = manager
    self.inherited = Guarded(inherited)
    self.log = log
    self.heapName = heapName
    self.nodes = nodes
    self.heap = heap
    mailbox = try attempt("start the server") { () throws(Errno) in try Mailbox() }
    closes = policy.hearsCloses ? Self.load(log) : nil
    kernelCharges = Self.kernelCharges(nodes)
  }

  /// Whether a heap's ioctl takes whom to charge. Told by the status alone, for its form is not settled.
  private static func kernelCharges(_ nodes: [String]) -> Bool? {
    for node in nodes {
      guard let device = try? OwnedFD.open("\(HeapCatalog.directory)/\(node)", O_RDONLY) else {
        continue
      }
      let answer = CLinuxHeaps_dma_heap_knows_charge(device.rawValue)
      return answer < 0 ? nil : answer == 1
    }
    return nil
  }

  /// Buffers' references are counted in /proc/self/fdinfo, and memfds opened anew in /proc/self/fd.
  private func checkProc() throws(HeapError) {
    let path = "/proc/self/fdinfo/\(mailbox.descriptor)"
    let operation = "count the references to buffers"
    do throws(Errno) { _ = try SmallFile.read(path) } catch .tooManyOpenFiles {
      throw HeapError(.tooManyOpenFiles, operation, at: path)
    } catch {
      throw HeapError(
        error, operation, at: path,
        cause: "/proc does not tell of this process: no buffer would ever be free again",
        fix: "mount -t proc proc /proc")
    }
  }

  private static func load(_ log: Logger) -> DMABufCloses? {
    do throws(HeapError) {
      let closes = try DMABufCloses()
      log.info("the kernel tells of dma-bufs' closes")
      return closes
    } catch {
      log.info("dma-bufs' counts are read by the clock", metadata: ["reason": "\(error)"])
      return nil
    }
  }

  /// Serves until ``stop()``; on return every request that was under way is answered.
  ///
  /// - Parameter signals: A stop of theirs ends it too; nil where the program handles signals otherwise.
  /// - Throws: `noResources` where the process may open no more files or start no more threads, another code where
  ///   /proc or the limit of open files cannot be read.
  public func run(_ signals: Signals? = nil) throws(HeapError) {
    defer {
      for listener in [sockets.heap, sockets.observer, sockets.metrics] { listener?.removeFile() }
    }
    try checkProc()
    let inherited = self.inherited.withLock { inherited in
      defer { inherited = [] }
      return inherited
    }
    try serve(inherited, signals).finish()
  }

  /// Nothing of a client's is left then, but what the disposer has.
  private func serve(
    _ inherited: [InheritedBuffer], _ signals: Signals?
  ) throws(HeapError) -> Disposer {
    let loop = try attempt("start the server") { () throws(Errno) in
      try ServerLoop(
        sockets: sockets, policy: policy, manager: manager, log: log, mailbox: mailbox,
        hasInherited: !inherited.isEmpty, signals: signals, closes: closes, heap: heap,
        heapName: heapName, nodes: nodes, kernelCharges: kernelCharges)
    }
    loop.takeOver(inherited)
    loop.run()
    return loop.disposer
  }

  /// Takes no new requests, answers those under way, and ends. From any thread.
  public func stop() { mailbox.post(.stop) }

  /// For requests from now on; who is connected stays.
  public func reload(_ policy: Policy) { mailbox.post(.reload(policy)) }
}
