internal import Dispatch
internal import Figures
internal import Foundation
internal import Glibc
internal import HeapClient
internal import HeapServer
internal import LinuxHeaps
internal import Logging
internal import Peers
internal import Synchronization

/// What can be measured, by the letter that the program takes.
enum Scenario: String, CaseIterable {
  case rounds = "a"
  case slices = "b"
  case quietHolder = "c"
  case rest = "d"
  case servedHolder = "e"
  case servedRest = "f"
  case calls = "g"
  case memfds = "h"
  case interface = "i"
  case pool = "p"
  case fragments = "r"

  var title: String {
    switch self {
    case .rounds: "a buffer of the system heap, allocated and closed, beside C"
    case .slices: "a slice and its close, beside dup and close"
    case .quietHolder: "another process closes the last handle, one buffer, held 5 ms to 1 s"
    case .rest: "at rest with buffers that others hold"
    case .servedHolder: "as c, of a service's buffers, \(Service.hears)"
    case .servedRest: "as d, of a service's buffers, \(Service.hears)"
    case .calls: "system calls a buffer, steady state"
    case .memfds: "a buffer of udmabuf, and of huge pages, beside the system heap"
    case .interface: "a buffer by the C interface, allocated and closed, beside Swift"
    case .pool: "a swap chain by heapd with a pool, beside the ioctl"
    case .fragments: "random rounds on a contiguous heap, with a pool and without"
    }
  }

  /// - Parameter holder: The socket of a process that holds what it is sent.
  func measure(_ holder: CInt) throws -> [Figure] {
    switch self {
    case .rounds: try rounds()
    case .slices: try slices()
    case .quietHolder:
      try quietHolder(DMABufHeap(heaps: ["system"]), holder, p50: 40, longest: 150)
    case .rest: try rest()
    case .servedHolder: try servedHolder(holder)
    case .servedRest: try servedRest()
    case .calls: try calls()
    case .memfds: try memfds()
    case .interface: try interface()
    case .pool: try swapChains()
    case .fragments: try randomRounds()
    }
  }
}

// MARK: a

extension Scenario {
  private func rounds() throws -> [Figure] {
    let device = unsafe open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC)
    guard device >= 0 else { throw Failure(description: "/dev/dma_heap/system: \(reason(errno))") }
    defer { close(device) }
    let heap = DMABufHeap(heaps: ["system"])
    var figures: [Figure] = []
    for (size, name, count, turns, target) in [
      (UInt64(4) << 10, "4 KiB", 200, 25, 1.4), (64 << 10, "64 KiB", 200, 25, 1.25),
      (1 << 20, "1 MiB", 40, 15, 1.05), (8 << 20, "8 MiB", 10, 15, 1.02),
    ] {
      var toPlain: [Double] = []
      var toEqual: [Double] = []
      var own: [Double] = []
      for turn in 0..<turns + 1 {
        let plain = try Failure.check(
          Peers_libdmabufheap(device, size, CInt(count)), "libdmabufheap's sequence")
        let equal = try Failure.check(
          Peers_with_guarantees(device, size, CInt(count)), "the sequence with guarantees")
        let closing = try closingTime(heap, size, count)
        // The first finds files that are not open yet.
        if turn == 0 { continue }
        toPlain.append(closing / plain)
        toEqual.append(closing / equal)
        own.append(closing / Double(count) / 1000)
      }
      figures.append(Figure("\(name), one", median(own), .microseconds))
      figures.append(
        Figure("\(name) to libdmabufheap", median(toPlain), .times, target: size == 4096 ? 4 : nil))
      figures.append(
        Figure("\(name) to C that guarantees it", median(toEqual), .times, target: target))
    }
    return figures
  }
}

// MARK: b

extension Scenario {
  private func slices() throws -> [Figure] {
    let heap = DMABufHeap(heaps: ["system"])
    let vmo = try allocate(heap, 2 * pageSize, 0)
    var ratios: [Double] = []
    for _ in 0..<15 {
      let peer = try vmo.withDescriptor {
        try Failure.check(Peers_dup($0, 2000), "dup and close")
      }
      let own = try time {
        for _ in 0..<2000 { _ = try vmo.slice(offset: pageSize, byteCount: pageSize) }
      }
      ratios.append(own / peer)
    }
    return [Figure("slice to dup", median(ratios), .times, target: 1.5)]
  }
}

// MARK: c

extension Scenario {
  private func quietHolder(
    _ heap: any Heap, _ holder: CInt, p50: Double, p99: Double? = nil, longest: Double? = nil,
    server: Server? = nil
  ) throws -> [Figure] {
    var generator = SystemRandomNumberGenerator()
    var delays: [Double] = []
    var delaysOfServer: [Double] = []
    for index in 0..<100 {
      let reclaimed = Moment()
      let vmo = try heap.allocateVmo(
        size: pageSize, settings: settings, bufferCollectionID: 1,
        bufferIndex: UInt64(index), cleanup: [{ reclaimed.set(now()) }])
      let time = Int64.random(in: 5_000_000...1_000_000_000, using: &generator)
      _ = try vmo.withDescriptor {
        try Failure.check(Int64(Peers_hold(holder, $0, time)), "pass the buffer on")
      }
      _ = consume vmo
      let closed = try Failure.check(Peers_closed(holder), "wait for the holder")
      while reclaimed.value == nil { usleep(1000) }
      delays.append((Double(reclaimed.value!) - closed) / 1_000_000)
      if let server {
        delaysOfServer.append((Double(server.reclaimed.value!) - closed) / 1_000_000)
      }
    }
    guard server != nil else { return figures(delays, p50: p50, p99: p99, longest: longest) }
    return figures(delaysOfServer, p50: p50, p99: p99, longest: longest)
      + figures(delays, " until the client's clean-up action")
  }

  private func figures(
    _ delays: [Double], _ what: String = "", p50: Double? = nil, p99: Double? = nil,
    longest: Double? = nil
  ) -> [Figure] {
    let delays = delays.sorted()
    return [
      Figure("p50\(what)", delays[delays.count / 2], .milliseconds, target: p50),
      Figure("p99\(what)", delays[delays.count * 99 / 100], .milliseconds, target: p99),
      Figure(
        "the longest of \(delays.count)\(what)", delays.last!, .milliseconds, target: longest),
    ]
  }
}

// MARK: d

extension Scenario {
  private func rest() throws -> [Figure] {
    var figures: [Figure] = []
    for count in [100, 1000, 10_000] {
      let heap = DMABufHeap(heaps: ["system"])
      // Not this library's any more: the kernel has to be asked of each.
      var others: [CInt] = []
      for index in 0..<count {
        others.append(try allocate(heap, pageSize, index).releaseDescriptor().release())
      }
      // The looks that follow a change are over by then.
      sleep(15)
      let begin = (wall: now(), own: processorTime())
      sleep(20)
      let share = Double(processorTime() - begin.own) / Double(now() - begin.wall) * 100
      figures.append(Figure("\(count) buffers", share, .percent, target: 1))
      for descriptor in others { close(descriptor) }
      Reclaimer.shared.recheckNow()
      while heap.liveBufferCount > 0 { usleep(1000) }
    }
    return figures
  }
}

// MARK: e, f

extension Scenario {
  private func servedHolder(_ holder: CInt) throws -> [Figure] {
    let service = try Service("e")
    // It begins to listen with the first buffer, on another thread.
    let first = try allocate(service.heap, pageSize, .max)
    sleep(2)
    let figures =
      Service.isHearing
      ? try quietHolder(service.heap, holder, p50: 1, p99: 20, server: service.server)
      : try quietHolder(service.heap, holder, p50: 40, longest: 150, server: service.server)
    _ = consume first
    return figures
  }

  private func servedRest() throws -> [Figure] {
    let service = try Service("f")
    var figures: [Figure] = []
    for count in [100, 1000, 10_000] {
      var others: [CInt] = []
      for index in 0..<count {
        others.append(try allocate(service.heap, pageSize, index).releaseDescriptor().release())
      }
      sleep(15)
      // First: to report ten thousand buffers is work.
      let wakeUpsBefore = try service.wakeUps()
      let begin = (wall: now(), own: processorTime())
      sleep(20)
      let share = Double(processorTime() - begin.own) / Double(now() - begin.wall) * 100
      let wakeUps = try service.wakeUps() - wakeUpsBefore
      figures.append(Figure("\(count) buffers", share, .percent, target: 1))
      figures.append(
        Figure("wake-ups", Double(wakeUps), .count, target: Service.isHearing ? 0 : nil))
      for descriptor in others { close(descriptor) }
      while service.heap.liveBufferCount > 0 { usleep(1000) }
    }
    return figures
  }
}

/// The system heap, served to this process by a thread of it.
private final class Service {
  static let isHearing = unsafe access("/sys/kernel/btf/vmlinux", R_OK) == 0
  static let hears = isHearing ? "closes are heard" : "counts are read"

  let heap: RemoteHeap
  let server: Server

  /// - Parameter name: Of the scenario: the one before may not have ended yet.
  init(_ name: String) throws {
    let path = "/tmp/kernel-bench.\(getpid()).\(name)"
    server = try Server(of: DMABufHeap(heaps: ["system"]), "system", at: path)
    heap = try RemoteHeap(socket: path)
  }

  /// Turns of the reclaimer.
  func wakeUps() throws -> Int { try heap.statusNumber("wakeups") }
}

extension RemoteHeap {
  /// The first number of that name in the service's status.
  func statusNumber(_ name: String) throws -> Int {
    let status = try status()
    guard let found = status.range(of: "\"\(name)\":"),
      let number = Int(status[found.upperBound...].drop { $0 == " " }.prefix { $0.isNumber })
    else { throw Failure(description: "no \(name) in \(status)") }
    return number
  }
}

/// Reads in the server's log when it reclaims a buffer, of which it tells at the level that nobody reads otherwise.
private struct ReclaimHandler: LogHandler {
  var next: StreamLogHandler
  let reclaimed: Moment
  var logLevel = Logger.Level.debug
  var metadata = Logger.Metadata()

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    if event.message == "buffer reclaimed" { reclaimed.set(now()) }
    if event.level >= next.logLevel { next.log(event: event) }
  }
}

/// Serves a heap by a thread of this process, until this value goes.
final class Server {
  private let server: HeapServer
  /// When a buffer's memory was given back last.
  fileprivate let reclaimed = Moment()

  init(of heap: any LocalHeap, _ name: String, at path: String) throws {
    var policy = try Policy()
    policy.limits.connection.buffers = 20_000
    policy.limits.user.buffers = 20_000
    let server = try HeapServer(
      sockets: HeapServer.Sockets(
        heap: Listener(at: path), observer: Listener(at: path + ".observer")),
      policy: policy,
      log: Logger(label: "heapd") { [reclaimed] in
        ReclaimHandler(next: StreamLogHandler.standardError(label: $0), reclaimed: reclaimed)
      }, heap: heap, heapName: name)
    self.server = server
    DispatchQueue(label: "server").async {
      do { try server.run() } catch { fatalError("\(error)") }
    }
  }

  deinit { server.stop() }
}

// MARK: g

extension Scenario {
  private func calls() throws -> [Figure] {
    let contiguous = HeapCatalog().heaps().first { $0.role == .contiguous }
    return [
      try Figure("system heap, in process", callsInProcess("system"), .calls, target: 8),
      try contiguous.map {
        try Figure("\($0.name), in process", callsInProcess($0.name), .calls, target: 9)
      } ?? Figure("contiguous heap, in process", absent: "this kernel has none"),
      try Figure("AllocateVmo and DeleteVmo, server", callsOfServer(), .calls, target: 14),
    ]
  }

  private func callsInProcess(_ name: String) throws -> Double {
    let heap = DMABufHeap(heaps: [name])
    return try callsPerRound(of: getpid()) { rounds in
      for index in 0..<rounds { _ = try allocate(heap, pageSize, index) }
    }
  }

  private func callsOfServer() throws -> Double {
    let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    let path = "/tmp/kernel-bench.\(getpid()).server"
    let server = try Program(program, ["serve", path, "system"])
    try server.waitForAnswer()
    let load = program.deletingLastPathComponent().appending(path: "load")
    let client = try Program(load, ["rounds", path])
    defer {
      client.end()
      server.end()
    }
    return try callsPerRound(of: server.pid) { rounds in
      try client.order("\(rounds)\n")
      try client.waitForAnswer()
    }
  }

  private func callsPerRound(
    of process: pid_t, _ run: (_ rounds: Int) throws -> Void
  ) throws -> Double {
    // The first open files and start threads.
    try run(200)
    let counter = try CallCounter(process)
    try run(1000)
    return try Double(counter.value()) / 1000
  }
}

/// Counts the system calls of a process's threads, without slowing them down as strace(1) would.
private struct CallCounter: ~Copyable {
  private var descriptors: [CInt] = []

  init(_ process: pid_t) throws {
    for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task") {
      let descriptor = Peers_count_calls(pid_t(thread)!)
      // It has ended since, and calls no more: one that attached BPF programs.
      if descriptor < 0 && errno == ESRCH { continue }
      _ = try Failure.check(Int64(descriptor), "count the system calls of thread \(thread)")
      descriptors.append(descriptor)
    }
  }

  func value() throws -> UInt64 {
    try descriptors.reduce(0) { sum, descriptor in
      var count: UInt64 = 0
      guard unsafe Glibc.read(descriptor, &count, 8) == 8 else {
        throw Failure(description: "read a count of system calls: \(reason(errno))")
      }
      return sum + count
    }
  }

  deinit { for descriptor in descriptors { close(descriptor) } }
}

/// A process that obeys its standard input, and ends with it.
struct Program {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()

  init(_ program: URL, _ arguments: [String]) throws {
    process.executableURL = program
    process.arguments = arguments
    process.standardInput = input
    process.standardOutput = output
    try process.run()
  }

  func end() {
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
  }

  /// One that does not read its input.
  func stop() {
    process.terminate()
    process.waitUntilExit()
  }

  var pid: pid_t { process.processIdentifier }

  func order(_ text: String) throws {
    try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
  }

  func waitForAnswer() throws {
    guard output.fileHandleForReading.availableData.isEmpty else { return }
    throw Failure(description: "\(process.executableURL!.lastPathComponent) ended")
  }
}

// MARK: h

extension Scenario {
  private func memfds() throws -> [Figure] {
    var figures: [Figure] = []
    for (size, text, count) in [
      (UInt64(64) << 10, "64 KiB", 100), (8 << 20, "8 MiB", 4), (32 << 20, "32 MiB", 1),
    ] {
      figures.append(
        Figure("udmabuf, \(text), to system", try toSystem(UDMABufHeap(), size, count), .times))
      figures.append(
        HugeHeap.isUsable
          ? Figure(
            "hugetlb, \(text), to system", try toSystem(HugeHeap(), size, count), .times,
            target: size < 8 << 20 ? nil : 1.3)
          : Figure("hugetlb, \(text), to system", absent: "no huge pages are reserved"))
    }
    return figures
  }

  private func toSystem(_ heap: some Heap, _ size: UInt64, _ count: Int) throws -> Double {
    let system = DMABufHeap(heaps: ["system"])
    var ratios: [Double] = []
    for turn in 0..<16 {
      let peer = try closingTime(system, size, count)
      let own = try closingTime(heap, size, count)
      // The first opens files.
      if turn > 0 { ratios.append(own / peer) }
    }
    return median(ratios)
  }
}

// MARK: i

extension Scenario {
  /// Of `make ship`, which is what C programs link to.
  private static let library = ".build-ship/dynamic/liblinuxheaps.so.0"

  private func interface() throws -> [Figure] {
    var names = ["system"]
    if let entry = HeapCatalog().heaps().first(where: { $0.role == .contiguous }) {
      names.append(entry.name)
    }
    var figures: [Figure] = []
    for name in names {
      let heap = DMABufHeap(heaps: [name])
      for (size, text, count) in [(UInt64(4) << 10, "4 KiB", 200), (64 << 10, "64 KiB", 100)] {
        var ratios: [Double] = []
        for turn in 0..<26 {
          let own = try closingTime(heap, size, count)
          let c = unsafe Peers_interface(Self.library, name, size, CInt(count))
          // The first opens files and starts threads.
          if turn > 0 { ratios.append(try Failure.check(c, "C on the heap \(name)") / own) }
        }
        figures.append(
          Figure("\(name), \(text), C to Swift", median(ratios), .times, target: 1.1))
      }
    }
    return figures
  }
}

// MARK: For all

/// As a program has them that makes buffers of one kind.
let settings = SingleBufferSettings()

func allocate(_ heap: some Heap, _ size: UInt64, _ index: Int) throws -> VMO {
  try heap.allocateVmo(
    size: size, settings: settings, bufferCollectionID: 1,
    bufferIndex: UInt64(index), cleanup: [])
}

/// Nanoseconds for as many buffers, each allocated and its handle closed, until all are taken back.
private func closingTime(_ heap: some Heap, _ size: UInt64, _ count: Int) throws -> Double {
  try time {
    for index in 0..<count { _ = try allocate(heap, size, index) }
    while heap.liveBufferCount > 0 { usleep(100) }
  }
}

/// Nanoseconds.
func time(_ body: () throws -> Void) rethrows -> Double {
  let begin = now()
  try body()
  return Double(now() - begin)
}

/// `CLOCK_MONOTONIC`, nanoseconds.
func now() -> Int64 { read(CLOCK_MONOTONIC) }

/// What all threads of this process have computed, nanoseconds.
private func processorTime() -> Int64 { read(CLOCK_PROCESS_CPUTIME_ID) }

private func read(_ clock: clockid_t) -> Int64 {
  var time = timespec()
  unsafe clock_gettime(clock, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

/// A time that another thread tells.
private final class Moment: Sendable {
  private let cell: Mutex<Int64?> = Mutex(nil)
  var value: Int64? { cell.withLock { $0 } }
  func set(_ moment: Int64) { cell.withLock { $0 = moment } }
}
