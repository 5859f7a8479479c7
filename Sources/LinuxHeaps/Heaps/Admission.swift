internal import SystemPackage

/// Keeps requests from the kernel that the machine cannot serve.
///
/// The system heap refuses no size: it takes pages until the out-of-memory killer runs. So a request
/// is held against what the kernel says is available, against the contiguous region it would come
/// from, and against a budget. Heaps that share one value share its figures; by default all of a
/// process do.
public final class Admission: Sendable {
  /// Without a budget, and with a floor of a sixteenth of the machine's memory.
  public static let standard = Admission()

  private struct State {
    var live: UInt64 = 0
    /// Admitted, and not yet seen in the kernel's figures.
    var underway: UInt64 = 0
    /// Promised and taken page by page at first use.
    var promised: UInt64 = 0
    var promises: [ObjectIdentifier: any Promise] = [:]
    var reading: MemoryReading?
  }

  private let floor: UInt64?
  private let budget: UInt64?
  private let memory: @Sendable () throws(Errno) -> MachineMemory
  private let state = Guarded(State())

  /// - Parameters:
  ///   - floor: Bytes of `MemAvailable` (proc(5)) that are left to the rest of the machine; nil for a
  ///     sixteenth of its memory.
  ///   - budget: The most bytes that may be live at once; nil for no limit.
  public convenience init(floor: UInt64? = nil, budget: UInt64? = nil) {
    self.init(floor: floor, budget: budget) { () throws(Errno) in try MachineMemory.read() }
  }

  /// The seam for tests: a machine of any size.
  init(
    floor: UInt64?, budget: UInt64?, memory: @escaping @Sendable () throws(Errno) -> MachineMemory
  ) {
    self.floor = floor
    self.budget = budget
    self.memory = memory
  }

  /// Bytes admitted and not yet given back.
  public var liveBytes: UInt64 { state.withLock { $0.live } }

  /// Where the pages of a request come from.
  enum Source {
    /// Taken at once, and never from contiguous regions, which only movable pages may borrow.
    case pages
    /// Taken one by one when they are first written.
    case pagesAtFirstUse
    case region(CMARegion)
    /// There are none.
    case nothing

    var isMovable: Bool { if case .pagesAtFirstUse = self { true } else { false } }
  }

  func admit(
    _ size: UInt64, from source: Source, _ operation: @autoclosure () -> String,
    at path: String? = nil
  ) throws(HeapError) -> Grant {
    try state.withLock { state throws(HeapError) in
      if let refusal = overBudget(size, state) { throw refusal.error(operation(), at: path) }
      switch source {
      case .pages, .pagesAtFirstUse:
        try admitPages(size, movable: source.isMovable, &state, operation(), at: path)
      case .region(let region):
        if let refusal = Self.overRegion(size, region) {
          throw refusal.error(operation(), at: path)
        }
      case .nothing: break
      }
      state.live += size
    }
    return Grant(self, size, source)
  }

  /// For memory that is there already.
  func take(_ size: UInt64) -> Grant {
    state.withLock { $0.live += size }
    return Grant(self, size, .nothing)
  }

  private struct Refusal {
    let cause: String
    let fix: String

    func error(_ operation: String, at path: String?) -> HeapError {
      HeapError(.noMemory, operation, at: path, cause: cause, fix: fix)
    }
  }

  private func overBudget(_ size: UInt64, _ state: borrowing State) -> Refusal? {
    let limit = budget ?? .max
    guard size > limit.less(state.live) else { return nil }
    return Refusal(
      cause: "the budget is \(limit.asByteCount), of which \(state.live.asByteCount) are live",
      fix: "close buffers or raise the budget")
  }

  private static func overRegion(_ size: UInt64, _ region: CMARegion) -> Refusal? {
    guard size > region.available ?? region.total else { return nil }
    return Refusal(
      cause: "the contiguous region \(region.name) has \(region.total.asByteCount)"
        + (region.available.map { ", of which \($0.asByteCount) are free" } ?? ""),
      fix: "close buffers, or boot with a larger region, e.g. cma=256M")
  }

  private func admitPages(
    _ size: UInt64, movable: Bool, _ state: inout State, _ operation: @autoclosure () -> String,
    at path: String?
  ) throws(HeapError) {
    func headroom(_ memory: MachineMemory, besides spoken: UInt64) -> UInt64 {
      memory.available(movable: movable).less(floor(of: memory)).less(spoken)
    }
    let spoken = state.underway + state.promised
    if let reading = state.reading,
      reading.covers(size, headroom: headroom(reading.memory, besides: spoken))
    {
      state.reading?.spent += size
      state.underway += size
      return
    }
    let machine = try attempt(operation(), at: "/proc/meminfo") { () throws(Errno) in try memory() }
    state.reading = MemoryReading(machine)
    if size > headroom(machine, besides: spoken) {
      // Each promise as far as it was not kept yet: slower to learn, so only where it matters.
      let open = state.promises.values.reduce(state.underway) { $0 + $1.untouchedBytes }
      if size > headroom(machine, besides: open) {
        let available = machine.available(movable: movable)
        throw Refusal(
          cause: "\(available.asByteCount) are available, less a floor of "
            + floor(of: machine).asByteCount
            + (open > 0 ? " and \(open.asByteCount) promised to others" : ""),
          fix: "close buffers, ask for less, or lower the floor"
        ).error(operation(), at: path)
      }
    }
    state.underway += size
  }

  private func floor(of machine: MachineMemory) -> UInt64 { floor ?? machine.total / 16 }

  /// An admitted request; it counts until it is given back or dropped.
  final class Grant: Sendable {
    private let admission: Admission
    private let size: UInt64
    private let source: Source
    private let phase = Guarded(Phase.underway)

    private enum Phase { case underway, settled, over }

    fileprivate init(_ admission: Admission, _ size: UInt64, _ source: Source) {
      self.admission = admission
      self.size = size
      self.source = source
    }

    deinit { giveBack() }

    /// The kernel has given the memory: its own figures tell from now on.
    func settle() {
      phase.withLock { phase in
        guard phase == .underway, case .pages = source else { return }
        phase = .settled
        admission.state.withLock { $0.underway -= size }
      }
    }

    /// Lets admission ask how much of a promise is still open.
    func watch(_ promise: any Promise) {
      phase.withLock { phase in
        guard phase == .underway else { return }
        phase = .settled
        admission.state.withLock { state in
          state.underway -= size
          state.promised += size
          state.promises[ObjectIdentifier(self)] = promise
        }
      }
    }

    func giveBack() {
      phase.withLock { phase in
        guard phase != .over else { return }
        admission.state.withLock { state in
          state.live -= size
          switch source {
          case .pages: if phase == .underway { state.underway -= size }
          case .pagesAtFirstUse:
            if phase == .underway { state.underway -= size } else { state.promised -= size }
          case .region, .nothing: break
          }
          state.promises[ObjectIdentifier(self)] = nil
        }
        phase = .over
      }
    }
  }
}
