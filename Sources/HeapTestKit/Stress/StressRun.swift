internal import CLibrary
internal import HeapSurvey
public import LinuxHeaps
internal import LinuxHeapsDRM
internal import Synchronization
internal import SystemPackage

/// Random work on one heap, with a model beside it that knows what must be alive.
///
/// Buffers are allocated, sliced, mapped, written, read, passed to other processes, put into messages and
/// imported into vgem and vkms; processes are killed; and handles are closed or given back, in an order that
/// follows from the seed. After each step every buffer that it touched must be as alive, as well known and
/// as often referenced as the model says, and each that lost its last holder must be reclaimed.
public struct StressRun: Sendable {
  /// When a run is over.
  public enum End: Sendable {
    case steps(Int)
    case time(Duration)
  }

  private let heap: any Heap
  private let name: String
  private let kind: VMO.Kind
  private let settings: SingleBufferSettings
  private let seed: UInt64
  private let limit: UInt64
  private let patience: Duration

  /// - Parameters:
  ///   - heap: One of its own: nobody else allocates from it meanwhile. What a `LocalHeap` knows of its buffers is
  ///     compared as well, and the kernel's counts; of another heap, e.g. a service's, what it answers and cleans up.
  ///   - name: What the draws depend on besides the seed, e.g. the heap's name.
  ///   - settings: Of every buffer.
  ///   - seed: The same one gives the same steps.
  ///   - limit: The most bytes that are live at once.
  ///   - patience: How long it waits for what must come true, before it calls that a failure.
  /// - Throws: What the heap answers to a first page, which is given back.
  public init(
    heap: any Heap, name: String, settings: SingleBufferSettings = SingleBufferSettings(),
    seed: UInt64 = .random(in: 0 ... .max), limit: UInt64 = 64 << 20,
    patience: Duration = .seconds(60)
  ) async throws(HeapError) {
    self.heap = heap
    self.name = name
    self.settings = settings
    self.seed = seed
    self.limit = limit
    self.patience = patience
    let collection = Self.nextCollection()
    // What this opens stays open; and peers are started by a thread that takes signals.
    let vmo = try VMO(
      adopting: try heap.allocateVmo(
        size: 1, settings: settings, bufferCollectionID: collection, bufferIndex: 0
      ).releaseDescriptor())
    kind = vmo.kind
    // A service's second connection.
    _ = try heap.info(of: vmo)
    try await heap.deleteVmo(bufferCollectionID: collection, bufferIndex: 0, vmo: vmo)
    _ = try Peer()
  }

  private static let runs = Atomic<UInt64>(0)

  /// Of no other run, in any process.
  private static func nextCollection() -> UInt64 {
    UInt64(getpid()) << 32 | runs.add(1, ordering: .relaxed).newValue
  }

  /// - Parameters:
  ///   - end: After so much time, or so many steps.
  ///   - isEnded: Asked before each step: whether to end early.
  ///   - progress: Told of each step.
  public func run(
    until end: End, isEnded: @escaping @Sendable () -> Bool = { false },
    progress: @escaping @Sendable (Int) -> Void = { _ in }
  ) async throws(HeapError) -> StressReport {
    // On a thread of its own: it waits for what tasks do, and must not take one of their threads.
    let result: Result<StressReport, HeapError> = await withCheckedContinuation { continuation in
      let body: @Sendable () -> Void = {
        continuation.resume(
          returning: Result { () throws(HeapError) in
            try work(until: end, isEnded: isEnded, progress: progress)
          })
      }
      do throws(Errno) {
        try KernelThread.start("heap-stress", body)
      } catch {
        continuation.resume(returning: .failure(HeapError(error, "start a thread")))
      }
    }
    return try result.get()
  }

  private func work(
    until end: End, isEnded: () -> Bool, progress: (Int) -> Void
  ) throws(HeapError) -> StressReport {
    let devices = kind == .dmaBuf ? Self.devices() : []
    let deletions = ThreadExecutor()
    let world = try attempt("prepare a stress run") { () throws(Errno) in
      let events = try StressEvents(patience: patience)
      try KernelThread.start("heap-deletions") { deletions.run() }
      return StressWorld(
        heap, settings, collection: Self.nextCollection(), devices: devices, events: events,
        deletions: deletions)
    }
    defer { deletions.end() }
    let before = try attempt("count descriptors", at: "/proc/self/fd") { () throws(Errno) in
      try OpenDescriptors()
    }
    var report = StressReport(seed: seed, limit: limit)
    report.devices = devices.map { $0.value.driver }
    var model = StressModel()
    do {
      try go(&model, world, &report, until: end, isEnded: isEnded, progress: progress)
      try giveBack(&model, world)
    } catch {
      report.failure = "\(error)"
    }
    world.dropAll()
    report.leaks = leaks(world, descriptors: before, hasFailed: report.failure != nil)
    (report.lookedAtList, report.leaks) = Self.listed(world, report.leaks)
    return report
  }

  private static func devices() -> [Box<DRMDevice>] {
    var found: [Box<DRMDevice>] = []
    for driver in ["vgem", "vkms"] {
      if let device = DRMDevice(drivers: [driver]) { found.append(Box(device)) }
    }
    return found
  }

  /// How many steps lie between two looks at everything.
  private static let wholeLook = 16

  private func go(
    _ model: inout StressModel, _ world: StressWorld, _ report: inout StressReport, until end: End,
    isEnded: () -> Bool, progress: (Int) -> Void
  ) throws {
    var script = StressScript(
      seed: seed, heap: name,
      .init(isMappable: kind != .opaque, devices: world.devices.count, limit: limit))
    let begin = ContinuousClock.now
    while end.isAhead(after: report.steps, since: begin) {
      if isEnded() {
        report.wasEnded = true
        return
      }
      progress(report.steps)
      let action = script.next(model)
      let isTold = script.isTold()
      report.add(action)
      do {
        let effect = try Self.act(action, &model, world, isTold: isTold)
        report.note(model, world)
        let looksAtAll = report.steps % Self.wholeLook == 0
        if looksAtAll { Reclaimer.shared.recheckNow() }
        for id in looksAtAll ? model.buffers.map(\.id) : effect.touched
        where try world.expectAlive(id, model) { report.countsCompared += 1 }
      } catch {
        throw Broken(description: "step \(report.steps), \(action): \(error)")
      }
    }
  }

  private static func act(
    _ action: StressAction, _ model: inout StressModel, _ world: StressWorld, isTold: Bool
  ) throws -> StressModel.Effect {
    let isReal = model.buffer(of: action).map { !world.refused.contains($0) } ?? true
    if isReal { try world.perform(action, model) }
    let effect = model.apply(action)
    if isTold && !effect.gone.isEmpty { Reclaimer.shared.recheckNow() }
    for buffer in effect.gone { try world.expectGone(buffer) }
    return effect
  }

  private func giveBack(_ model: inout StressModel, _ world: StressWorld) throws {
    while let action = model.closing {
      do {
        _ = try Self.act(action, &model, world, isTold: true)
      } catch {
        throw Broken(description: "in the end, \(action): \(error)")
      }
    }
  }
}

// MARK: What is left

extension StressRun {
  private func leaks(
    _ world: StressWorld, descriptors before: OpenDescriptors, hasFailed: Bool
  ) -> [String] {
    var leaks: [String] = []
    func look(_ leak: @autoclosure () -> String, _ isGone: () throws -> Bool) {
      // What a failed run left may never go.
      let patience = hasFailed ? min(world.events.patience, .seconds(2)) : world.events.patience
      let deadline = ContinuousClock.now + patience
      while (try? isGone()) != true {
        if ContinuousClock.now >= deadline { return leaks.append(leak()) }
        usleep(1_000)
      }
    }
    look("buffers that the heap has not reclaimed: \(heap.liveBufferCount)") {
      heap.liveBufferCount == 0
    }
    look("clean-ups: \(world.cleanups.count), buffers: \(world.allocated)") {
      world.cleanups.count == world.allocated
    }
    func opened() throws -> [String] { try OpenDescriptors().opened(since: before) }
    func told() -> String { (try? opened())?.joined(separator: ", ") ?? "/proc is not readable" }
    look("descriptors open that were not before: \(told())") { try opened().isEmpty }
    return leaks
  }

  /// The kernel's own list, where this process may read it.
  private static func listed(
    _ world: StressWorld, _ leaks: [String]
  ) -> (wasRead: Bool, leaks: [String]) {
    let deadline = ContinuousClock.now + (leaks.isEmpty ? world.events.patience : .zero)
    while let list = try? BufferList.read() {
      let left = list.count(ofCollection: world.collection)
      if left == 0 { return (true, leaks) }
      if ContinuousClock.now >= deadline {
        return (true, leaks + ["dma-bufs in the kernel's list: \(left)"])
      }
      usleep(1_000)
    }
    return (false, leaks)
  }
}

extension StressRun.End {
  fileprivate func isAhead(after steps: Int, since begin: ContinuousClock.Instant) -> Bool {
    switch self {
    case .steps(let count): steps < count
    case .time(let time): ContinuousClock.now - begin < time
    }
  }
}

extension StressReport {
  fileprivate mutating func note(_ model: StressModel, _ world: StressWorld) {
    mostBuffers = max(mostBuffers, model.buffers.count)
    mostBytes = max(mostBytes, model.liveBytes)
    refused = world.refused.count
  }
}

extension StressModel {
  /// The next thing to give back; nil when nothing is held.
  fileprivate var closing: StressAction? {
    if let message = messages.first { return .drop(message: message.id) }
    if let imported = imports.first { return .release(imported: imported.id) }
    if let mapping = mappings.first { return .unmap(mapping: mapping.id) }
    if let handle = handles.first { return .close(handle: handle.id) }
    return peers.first.map { .end(peer: $0.id) }
  }
}

/// What a stress run did, and what it left.
public struct StressReport: Sendable {
  /// What was done, by kind; what a peer did counts with what this process did.
  public enum Kind: String, CaseIterable, Sendable {
    case allocate, slice, duplicate, adopt, map, write, read, unmap, pass, send, receive, drop
    case `import`, release, start, fork, kill, end, close, delete
  }

  public let seed: UInt64
  /// The most bytes that the run has live at once.
  public let limit: UInt64
  /// Steps that were done, those that give all back at the end not included.
  public internal(set) var steps = 0
  public internal(set) var counts: [Kind: Int] = [:]
  /// FNV-1a of the steps' actions: two runs with the same digest did the same.
  public internal(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325
  public internal(set) var bytes: UInt64 = 0
  public internal(set) var mostBuffers = 0
  public internal(set) var mostBytes: UInt64 = 0
  /// Allocations that the heap had no room for.
  public internal(set) var refused = 0
  /// The devices that buffers were imported into.
  public internal(set) var devices: [String] = []
  /// How often the kernel's own count of references was compared with the model's.
  public internal(set) var countsCompared = 0
  /// Whether the kernel's list of dma-bufs was looked at in the end.
  public internal(set) var lookedAtList = false
  /// Whether the caller ended it early.
  public internal(set) var wasEnded = false
  /// What did not hold, and in which step.
  public internal(set) var failure: String?
  /// What was not given back, each in words.
  public internal(set) var leaks: [String] = []

  init(seed: UInt64, limit: UInt64) {
    self.seed = seed
    self.limit = limit
  }

  public var hasPassed: Bool { failure == nil && leaks.isEmpty }

  mutating func add(_ action: StressAction) {
    steps += 1
    counts[action.kind, default: 0] += 1
    if case .allocate(_, _, let pages, _) = action { bytes += pages * pageSize }
    for byte in "\(action)\n".utf8 { digest = (digest ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
  }
}
