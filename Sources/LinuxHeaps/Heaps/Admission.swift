package import SystemPackage

/// Keeps requests from the kernel that the machine cannot serve.
///
/// The system heap refuses no size: it takes pages until the out-of-memory killer runs. So a request
/// is held against what the kernel says is available, against the contiguous region it would come
/// from, against what the process's control groups leave, and against a budget. Heaps that share one
/// value share its figures; by default all of a process do.
///
/// Control groups count memfds and udmabufs, and the system heap where the kernel charges it
/// (`dma_heap.mem_accounting=1`). Of each level's limit, `memory.max` or `memory.high`, a sixteenth is left
/// free: other processes of the group take memory too, and the kernel's figures lag a little. Pages
/// of files that can be dropped are not counted, what would have to be swapped out is.
public final class Admission: Sendable {
  /// Without a budget, and with a floor of a sixteenth of the machine's memory.
  public static let standard = Admission()

  private struct State {
    var live: UInt64 = 0
    /// Admitted, and not yet seen in the kernel's figures.
    var underway: UInt64 = 0
    /// As much of that as a control group is charged for; promises all are.
    var chargedUnderway: UInt64 = 0
    /// Promised and taken page by page at first use.
    var promised: UInt64 = 0
    /// Whose pages are promised.
    var promises: [ObjectIdentifier: any PromisedPages] = [:]
    /// As much of it as was kept when they were asked last, and until when that is taken for so.
    private var kept: (bytes: UInt64, until: MonotonicTime)?
    /// As much of what is live as a control group is charged for, now and when groups were read.
    var charged: UInt64 = 0
    var chargedThen: UInt64 = 0
    var machine: Reading<MachineMemory>?
    /// Of the level that leaves least; nil in it where none has a limit.
    var group: Reading<ControlGroup.Limit?>?

    mutating func settle(_ size: UInt64, isCharged: Bool) {
      underway -= size
      if isCharged { chargedUnderway -= size }
    }

    /// What is underway, and each promise as far as it was not kept yet: slower to learn than what was promised, and of many not
    /// learned again for each request that is refused. All of a promise that ends meanwhile counts as kept.
    mutating func open(besides underway: UInt64) -> UInt64 {
      let begin = MonotonicTime.now
      if let kept, begin < kept.until { return underway + promised.less(kept.bytes) }
      let open = promises.values.reduce(0) { $0 + $1.untouchedBytes }
      let cost = MonotonicTime.now.nanoseconds - begin.nanoseconds
      // For three percent of a processor.
      kept =
        cost < 100_000
        ? nil
        : (
          promised.less(open), MonotonicTime(nanoseconds: begin.nanoseconds + 32 * cost)
        )
      return underway + open
    }

    mutating func endPromise(of size: UInt64, _ promise: ObjectIdentifier) -> (any PromisedPages)? {
      promised -= size
      if let bytes = kept?.bytes { kept!.bytes = bytes.less(size) }
      return promises.removeValue(forKey: promise)
    }
  }

  /// A reading of the kernel's figures, which costs more than a small allocation.
  private struct Reading<Figures: Sendable> {
    let figures: Figures
    /// Bytes admitted on its strength, those that it was made for included.
    var spent: UInt64
    private let time = MonotonicTime.lastTick

    init(_ figures: Figures, for size: UInt64) {
      self.figures = figures
      spent = size
    }

    /// A few small requests may lean on one reading, for a while.
    ///
    /// - Parameter most: Bytes of all of them together.
    func covers(_ size: UInt64, most: UInt64, milliseconds: UInt64) -> Bool {
      let age = MonotonicTime.lastTick.nanoseconds - time.nanoseconds
      return age < milliseconds * 1_000_000 && size <= most.less(spent)
    }
  }

  private let floor: UInt64?
  private let budget: UInt64?
  private let group: @Sendable () throws(Errno) -> ControlGroup.Limit?
  private let memory: @Sendable () throws(Errno) -> MachineMemory
  private let state = Guarded(State())

  /// - Parameters:
  ///   - floor: Bytes of `MemAvailable` (proc(5)) that are left to the rest of the machine; nil for a
  ///     sixteenth of its memory.
  ///   - budget: The most bytes that may be live at once; nil for no limit.
  public convenience init(floor: UInt64? = nil, budget: UInt64? = nil) {
    let groups = ControlGroup()
    self.init(
      floor: floor, budget: budget, group: { () throws(Errno) in try groups.tightest() }
    ) { () throws(Errno) in try MachineMemory.read() }
  }

  /// The seam for tests: a machine of any size, and a group with any limit.
  init(
    floor: UInt64?, budget: UInt64?,
    group: @escaping @Sendable () throws(Errno) -> ControlGroup.Limit? = { nil },
    memory: @escaping @Sendable () throws(Errno) -> MachineMemory
  ) {
    self.floor = floor
    self.budget = budget
    self.group = group
    self.memory = memory
  }

  /// Bytes admitted and not yet given back.
  public var liveBytes: UInt64 { state.withLock { $0.live } }

  /// Where the pages of a request come from.
  enum Source {
    /// Taken at once, and never from contiguous regions, which only movable pages may borrow.
    case pages
    /// The same, and no control group is charged for them.
    case unchargedPages
    /// Taken one by one when they are first written.
    case pagesAtFirstUse
    /// There already, and charged to somebody else, who may take them away until they are pinned: those are made anew then.
    case pagesOfOthers
    case region(CMARegion)
    /// There are none.
    case nothing

    fileprivate var isMovable: Bool { if case .pagesAtFirstUse = self { true } else { false } }
    fileprivate var isOfOthers: Bool { if case .pagesOfOthers = self { true } else { false } }
    fileprivate var isCharged: Bool {
      switch self {
      case .pages, .pagesAtFirstUse, .pagesOfOthers: true
      case .unchargedPages, .region, .nothing: false
      }
    }
  }

  func admit(
    _ size: UInt64, from source: Source, _ operation: @autoclosure () -> String,
    at path: String? = nil
  ) throws(HeapError) -> Grant {
    func refusal(_ cause: String, fix: String) -> HeapError {
      HeapError(.noMemory, operation(), at: path, cause: cause, fix: fix)
    }
    let charge = try state.withLock { state throws(HeapError) -> Charge in
      var isUnderway = false
      let limit = budget ?? .max
      if size > limit.less(state.live) {
        throw refusal(
          "the budget is \(limit.asByteCount), of which \(state.live.asByteCount) are live",
          fix: "close buffers or raise the budget")
      }
      switch source {
      case .pages, .unchargedPages, .pagesAtFirstUse, .pagesOfOthers:
        // What somebody takes away is free for what is made in its place.
        if !source.isOfOthers, let shortage = try shortage(size, source, &state, operation()) {
          throw refusal(shortage, fix: "close buffers, or ask for less")
        }
        if source.isCharged {
          try admitToGroup(size, &state, operation())
          state.chargedUnderway += size
          state.charged += size
        }
        state.underway += size
        isUnderway = true
      case .region(let region) where size > region.available ?? region.total:
        throw refusal(
          "the contiguous region \(region.name) has \(region.total.asByteCount)"
            + (region.available.map { ", of which \($0.asByteCount) are free" } ?? ""),
          fix: "close buffers, or make the region larger: heapctl doctor tells how")
      case .region, .nothing: break
      }
      state.live += size
      return Charge(
        admission: self, size: size, isUnderway: isUnderway, isCharged: source.isCharged,
        isOfOthers: source.isOfOthers)
    }
    return Grant(charge)
  }

  /// Holds a request of pages that are taken at once against the machine's memory, its floor, the limits of
  /// control groups and the budget.
  ///
  /// - Parameters:
  ///   - size: Bytes, a multiple of ``pageSize``.
  ///   - operation: What the error says was being done.
  /// - Throws: ``HeapError/Code/noMemory`` where there is not enough.
  public func admit(_ size: UInt64, for operation: String) throws(HeapError) -> Grant {
    try admit(size, from: .pages, operation)
  }

  /// For what has a size and no pages: a budget counts it. Without one it is not counted, because the sizes of two such vmos can be all
  /// that a number holds.
  func admitWithoutPages(
    _ size: UInt64, _ operation: @autoclosure () -> String
  ) throws(HeapError) -> Grant {
    try admit(budget == nil ? 0 : size, from: .nothing, operation())
  }

  /// For memory that is there already.
  package func take(_ size: UInt64) -> Charge {
    state.withLock { $0.live += size }
    return Charge(
      admission: self, size: size, isUnderway: false, isCharged: false, isOfOthers: false)
  }

  /// Why the machine cannot serve the pages; nil where it can.
  private func shortage(
    _ size: UInt64, _ source: Source, _ state: inout State, _ operation: @autoclosure () -> String
  ) throws(HeapError) -> String? {
    let movable = source.isMovable
    func headroom(_ memory: MachineMemory, besides spoken: UInt64) -> UInt64 {
      memory.available(movable: movable).less(floor(of: memory)).less(spoken)
    }
    let spoken = state.underway + state.promised
    if let reading = state.machine,
      reading.covers(
        size, most: headroom(reading.figures, besides: spoken) / 16, milliseconds: 50)
    {
      state.machine?.spent += size
      return nil
    }
    let machine: MachineMemory
    do throws(Errno) { machine = try memory() } catch { throw Self.unread(error, operation()) }
    state.machine = Reading(machine, for: size)
    if size > headroom(machine, besides: spoken) {
      let open = state.open(besides: state.underway)
      if size > headroom(machine, besides: open) {
        return "\(machine.available(movable: movable).asByteCount) are available, less a floor of "
          + floor(of: machine).asByteCount
          + (open > 0 ? " and \(open.asByteCount) promised to others" : "")
      }
    }
    return nil
  }

  /// Why the machine's memory is not known.
  package static func unread(
    _ errno: Errno, _ operation: String, in files: MachineFiles = MachineFiles()
  ) -> HeapError {
    let path = files.path(MachineMemory.file)
    guard errno == .noSuchFileOrDirectory else { return HeapError(errno, operation, at: path) }
    let isPart = files.showsProcessesAlone
    // Not as a heap's node that is not there, for which another heap serves.
    return HeapError(
      .notSupported, operation, at: path,
      cause: isPart ? "this /proc shows processes alone (subset=pid)" : "proc is not mounted there",
      errno: errno, fix: isPart ? Surroundings.wholeProc : "mount -t proc proc /proc")
  }

  /// Holds a request against the control group with the least left.
  private func admitToGroup(
    _ size: UInt64, _ state: inout State, _ operation: @autoclosure () -> String
  ) throws(HeapError) {
    func headroom(_ limit: ControlGroup.Limit?, besides spoken: UInt64) -> UInt64 {
      (limit?.available ?? .max).less(spoken)
    }
    let spoken = state.chargedUnderway + state.promised
    // A limit can be set at any time, other processes of the group take memory, and nothing tells of either.
    if let reading = state.group {
      let headroom = headroom(reading.figures, besides: spoken)
      // What is live grows by 16 MiB at most before it is seen. What has ended can still be there, where an O_PATH descriptor keeps it.
      if size <= (min(headroom, 256 << 20) / 16).less(state.charged.less(state.chargedThen)),
        reading.covers(size, most: headroom / 2, milliseconds: 1000)
      {
        state.group?.spent += size
        return
      }
    }
    let limit = try attempt(operation(), at: ControlGroup.file) { () throws(Errno) in try group() }
    state.group = Reading(limit, for: size)
    state.chargedThen = state.charged
    guard let limit, size > headroom(limit, besides: spoken) else { return }
    let open = state.open(besides: state.chargedUnderway)
    guard size > headroom(limit, besides: open) else { return }
    throw HeapError(
      .noMemory, operation(), at: limit.directory,
      cause: "\(limit.file) is \(limit.bytes.asByteCount), of which "
        + "\(limit.left.asByteCount) are left, less a margin of \(limit.margin.asByteCount)"
        + (open > 0 ? " and \(open.asByteCount) promised to others" : ""),
      fix: "close buffers, ask for less, or raise the limit of the control group")
  }

  private func floor(of machine: MachineMemory) -> UInt64 { floor ?? machine.total / 16 }

  /// An admitted request; it counts until this value ends, or the buffer that was made on its strength.
  public struct Grant: ~Copyable, Sendable {
    /// Nil where a buffer's record has it.
    private var charge: Charge?

    fileprivate init(_ charge: Charge) { self.charge = charge }

    /// Of memory that is there already.
    package init(of charge: Charge) { self.charge = charge }

    deinit { charge?.end() }

    consuming func giveBack() {}

    /// Lets admission ask how much of a promise is still open.
    mutating func watch(_ pages: any PromisedPages) { charge?.watch(pages) }

    /// The kernel has given the memory: its own figures tell from now on, but of promised pages.
    consuming func settled() -> Charge {
      var charge = self.charge.take()!
      if charge.promise == nil { charge.settle() }
      return charge
    }
  }

  /// What a buffer's record holds of the admission.
  ///
  /// Trivially copyable, so that it costs nothing on its way from hand to hand; whoever has it calls
  /// ``end()`` once, when the memory is gone.
  @safe
  package struct Charge: Sendable {
    /// Retained.
    private let admission: Unmanaged<Admission>
    private let size: UInt64
    /// Not seen in the kernel's figures yet.
    private var isUnderway: Bool
    /// To a control group.
    private var isCharged: Bool
    /// Nothing is charged to this process's once it is settled.
    private let isOfOthers: Bool
    fileprivate var promise: ObjectIdentifier?

    fileprivate init(
      admission: Admission, size: UInt64, isUnderway: Bool, isCharged: Bool, isOfOthers: Bool
    ) {
      unsafe self.admission = .passRetained(admission)
      self.size = size
      self.isUnderway = isUnderway
      self.isCharged = isCharged
      self.isOfOthers = isOfOthers
    }

    fileprivate mutating func settle() {
      guard isUnderway else { return }
      isUnderway = false
      unsafe admission.takeUnretainedValue().state.withLock { [size, isCharged, isOfOthers] in
        $0.settle(size, isCharged: isCharged)
        if isOfOthers { $0.charged -= size }
      }
      if isOfOthers { isCharged = false }
    }

    fileprivate mutating func watch(_ pages: any PromisedPages) {
      guard isUnderway else { return }
      isUnderway = false
      promise = ObjectIdentifier(pages)
      unsafe admission.takeUnretainedValue().state.withLock { [size, isCharged] state in
        state.settle(size, isCharged: isCharged)
        state.promised += size
        state.promises[ObjectIdentifier(pages)] = pages
      }
    }

    package func end() {
      // The pages' owner can go with them; not under the lock.
      _ = unsafe admission.takeRetainedValue().state.withLock {
        [self] state -> (any PromisedPages)? in
        state.live -= size
        if isCharged { state.charged -= size }
        if isUnderway { state.settle(size, isCharged: isCharged) }
        return promise.flatMap { state.endPromise(of: size, $0) }
      }
    }
  }
}

/// Memory that takes its pages one by one when they are first used.
protocol PromisedPages: AnyObject, Sendable {
  /// Bytes that have no page yet.
  var untouchedBytes: UInt64 { get }
}
