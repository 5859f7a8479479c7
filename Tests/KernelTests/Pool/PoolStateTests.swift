import Foundation
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

@testable import HeapPool

/// What lies in the pool, without a kernel's heaps: the memory is a file's.
@Suite struct PoolStateTests {
  private let heap = MemfdHeap()
  private let now = MonotonicTime.now
  private var state = PoolState(
    settings: PoolSettings(byteCount: 64 << 20, idleTime: .seconds(60), learns: true))

  private func kind(pages: Int) -> PoolKind {
    PoolKind(PoolSettings.Stock(byteCount: UInt64(pages) * pageSize, count: 1))!
  }

  private func entry(
    _ kind: PoolKind, owner: UInt32? = nil, isNew: Bool = false
  ) throws -> PoolEntry {
    let memory = try heap.makeMemory(
      for: BufferRequest(
        key: .fresh(), size: kind.byteCount, settings: SingleBufferSettings()))
    let parent = memory.parent
    return PoolEntry(
      PoolMemory(parent: parent, heapName: "memfd", kind: kind, owner: owner, isNew: isNew),
      memory.settled())
  }

  /// Sizes are the clients' choice.
  @Test mutating func `so many kinds are learned and no more`() {
    for pages in 1...1000 { state.missed(kind(pages: pages)) }
    var made = 0
    while case .make(let kind) = state.next(at: now) {
      made += 1
      _ = state.settle(kind, nil, at: now)
    }
    #expect(made == 64)
    #expect(state.figures.misses == 1000)
  }

  @Test mutating func `a pool without bytes learns nothing`() {
    state.settings.byteCount = 0
    state.missed(kind(pages: 1))
    #expect(state.figures.misses == 0)
    state.settings.byteCount = 64 << 20
    guard case .end = state.next(at: now) else {
      Issue.record("there is something to do")
      return
    }
  }

  @Test mutating func `what cannot be made is no reason to make nothing else`() throws {
    state.settings.stock = [
      PoolSettings.Stock(byteCount: pageSize, count: 1),
      PoolSettings.Stock(byteCount: 2 * pageSize, count: 1),
    ]
    state.missed(kind(pages: 3))
    var made: [UInt64] = []
    while case .make(let kind) = state.next(at: now) {
      made.append(kind.byteCount / pageSize)
      let entry = kind.byteCount == pageSize ? nil : try entry(kind, isNew: true)
      _ = state.settle(kind, entry, at: now)
    }
    #expect(made == [1, 2, 3])
    let later = now.advanced(by: .seconds(61))
    guard case .make(let again) = state.next(at: later) else {
      Issue.record("it is not tried again")
      return
    }
    #expect(again.byteCount == pageSize)
    for entry in state.takeAll() { entry.end() }
  }

  @Test mutating func `what is in hand goes where somebody waits for it`() throws {
    var isAwaited = state.awaitEndOfStep()
    #expect(!isAwaited)
    let returned = kind(pages: 1)
    for count in [2, 0] {
      let stays = state.giveBack(try entry(returned), at: now)
      #expect(stays)
      guard case .zero(let entry) = state.next(at: now) else {
        Issue.record("nothing is zeroed")
        return
      }
      for _ in 0..<count {
        isAwaited = state.awaitEndOfStep()
        #expect(isAwaited)
      }
      let goes = state.settle(entry, .free, at: now)
      #expect(goes == (count > 0))
      if goes { entry.end() }
      let waiting = state.endStep()
      #expect(waiting == count)
    }
    for entry in state.takeAll() { entry.end() }
    state.settings.stock = [PoolSettings.Stock(byteCount: pageSize, count: 1)]
    guard case .make(let kind) = state.next(at: now) else {
      Issue.record("nothing is made")
      return
    }
    isAwaited = state.awaitEndOfStep()
    let made = try entry(kind, isNew: true)
    let goes = state.settle(kind, made, at: now)
    #expect(isAwaited && goes)
    made.end()
    #expect(state.isEmpty)
  }

  /// The last close of a dma-buf can wait for somebody: more of an owner's memory would be on nobody's account.
  @Test mutating func `an owner whose memory does not go has no more in the pool`() throws {
    let page = kind(pages: 1)
    let held = try entry(page, owner: 7)
    let number = state.beginEnd(held, at: now)
    #expect(!state.isHeldUp(7, at: now))
    #expect(state.isEnding(upTo: number, at: now))
    #expect(state.releasableBytes(at: now) == pageSize)
    let later = now.advanced(by: .seconds(1))
    #expect(state.isHeldUp(7, at: later))
    #expect(!state.isHeldUp(8, at: later))
    #expect(!state.isEnding(upTo: number, at: later))
    #expect(!state.isEnding(upTo: number - 1, at: now))
    #expect(state.releasableBytes(at: later) == 0)
    state.endEnd(number)
    #expect(!state.isHeldUp(7, at: later))
    // Nor who lets go of more than half of what the pool may have, faster than it is closed.
    let numbers = try (0..<2).map { _ in
      let large = try entry(kind(pages: Int((20 << 20) / pageSize)), owner: 7)
      defer { large.end() }
      return state.beginEnd(large, at: now)
    }
    #expect(state.isHeldUp(7, at: now))
    #expect(!state.isHeldUp(8, at: now))
    let back = try entry(page, owner: 7)
    let stays = state.giveBack(back, at: now)
    #expect(!stays)
    back.end()
    state.endEnd(numbers[0])
    #expect(!state.isHeldUp(7, at: now))
    held.end()
  }

  /// Whoever ends a small buffer does not wait for the pages of large ones.
  @Test mutating func `what makes room is left to the thread`() throws {
    let large = kind(pages: Int((60 << 20) / pageSize))
    var stays = state.giveBack(try entry(large), at: now)
    #expect(stays)
    let small = kind(pages: Int((8 << 20) / pageSize))
    stays = state.giveBack(try entry(small), at: now)
    #expect(stays)
    guard case .drop(let gone) = state.next(at: now) else {
      Issue.record("nothing goes")
      return
    }
    #expect(gone.map(\.byteCount) == [60 << 20])
    // Not free before it is closed.
    #expect(state.releasableBytes(at: .now) == 68 << 20)
    for entry in gone { entry.end() }
    _ = state.endStep()
    #expect(state.releasableBytes(at: .now) == 8 << 20)
    let tooLarge = try entry(kind(pages: Int((65 << 20) / pageSize)))
    stays = state.giveBack(tooLarge, at: now)
    #expect(!stays)
    tooLarge.end()
    #expect(state.figures.bytes == 8 << 20)
    for entry in state.takeAll() { entry.end() }
  }

  // MARK: The stock

  /// Of one page each.
  private mutating func makeStock(_ count: Int) throws {
    state.settings.stock = [PoolSettings.Stock(byteCount: pageSize, count: count)]
    try makeAll(count)
  }

  private mutating func makeAll(_ count: Int) throws {
    for _ in 0..<count {
      guard case .make(let kind) = state.next(at: now) else { throw Unexpected() }
      let made = try entry(kind, isNew: true)
      let goes = state.settle(kind, made, at: now)
      #expect(!goes)
    }
  }

  /// One of a page that somebody had.
  private mutating func comeBack() throws {
    let stays = state.giveBack(try entry(kind(pages: 1)), at: now)
    #expect(stays)
  }

  private mutating func zeroAll(_ count: Int) throws {
    for _ in 0..<count {
      guard case .zero(let entry) = state.next(at: now) else { throw Unexpected() }
      let goes = state.settle(entry, .free, at: now)
      #expect(!goes)
    }
  }

  private struct Unexpected: Error {}

  @Test mutating func `what somebody had goes, and the stock beside it stays`() throws {
    try makeStock(3)
    for _ in 0..<3 { try comeBack() }
    try zeroAll(3)
    guard case .wait(let moment) = state.next(at: now) else { throw Unexpected() }
    #expect(moment == now.advanced(by: .seconds(60)))
    // The stock is older.
    let later = now.advanced(by: .seconds(100))
    guard case .drop(let gone) = state.next(at: later) else { throw Unexpected() }
    #expect(gone.map(\.memory.isNew) == [false, false, false])
    for entry in gone { entry.end() }
    guard case .wait(nil) = state.next(at: later) else { throw Unexpected() }
    #expect(state.figures.readyBuffers == 3)
    for entry in state.takeAll() { entry.end() }
  }

  @Test mutating func `what somebody had takes the stock's bytes for the idle time alone`() throws {
    state.settings.byteCount = 3 * pageSize
    try makeStock(3)
    for _ in 0..<3 {
      let taken = state.take(kind(pages: 1), nil)
      try #require(taken).end()
    }
    try makeAll(3)
    for _ in 0..<3 { try comeBack() }
    guard case .drop(let stock) = state.next(at: now) else { throw Unexpected() }
    #expect(stock.map(\.memory.isNew) == [true, true, true])
    for entry in stock { entry.end() }
    try zeroAll(3)
    let later = now.advanced(by: .seconds(100))
    guard case .drop(let gone) = state.next(at: later) else { throw Unexpected() }
    #expect(gone.map(\.memory.isNew) == [false, false, false])
    for entry in gone { entry.end() }
    try makeAll(3)
    for entry in state.takeAll() { entry.end() }
  }

  @Test mutating func `what is new and no longer wanted goes, the oldest first`() throws {
    try makeStock(3)
    try comeBack()
    try zeroAll(1)
    state.settings.stock[0].count = 1
    let later = now.advanced(by: .seconds(100))
    guard case .drop(let gone) = state.next(at: later) else { throw Unexpected() }
    #expect(gone.count { $0.memory.isNew } == 2 && gone.count == 3)
    for entry in gone { entry.end() }
    for entry in state.takeAll() { entry.end() }
  }

  @Test mutating func `a stock that another heap would serve is not made again and again`() throws {
    state.settings.stock = [PoolSettings.Stock(byteCount: pageSize, count: 1)]
    var moment = now
    for round in 0..<3 {
      guard case .make(let kind) = state.next(at: moment) else { throw Unexpected() }
      state.notKept(kind)
      let goes = state.settle(kind, nil, at: moment)
      #expect(goes)
      for _ in 0..<5 {
        moment = moment.advanced(by: .seconds(61))
        guard case .wait(nil) = state.next(at: moment) else { throw Unexpected() }
      }
      // The settings change, and then a request is served by memory that is pooled.
      if round == 0 { state.settings.learns = false } else { state.missed(kind) }
    }
  }

  // MARK: Second attempts

  /// Nor for a while where that helped.
  @Test mutating func `nothing is made while a request is tried again`() throws {
    state.settings.stock = [PoolSettings.Stock(byteCount: pageSize, count: 1)]
    state.missed(kind(pages: 2))
    state.beginRetry()
    guard case .wait = state.next(at: now) else { throw Unexpected() }
    state.endRetry(isServed: false, at: now)
    // What was missed is not forgotten either.
    try makeAll(2)
    let entries = state.takeAll()
    #expect(entries.map(\.byteCount).sorted() == [pageSize, 2 * pageSize])
    for entry in entries { entry.end() }
    state.beginRetry()
    state.endRetry(isServed: true, at: now)
    guard case .wait(let moment) = state.next(at: now) else { throw Unexpected() }
    #expect(moment == now.advanced(by: .seconds(60)))
    guard case .make(let kind) = state.next(at: try #require(moment)) else { throw Unexpected() }
    #expect(kind.byteCount == pageSize)
  }

  @Test mutating func `what is missed meanwhile is made afterwards`() throws {
    state.beginRetry()
    state.endRetry(isServed: true, at: now)
    state.missed(kind(pages: 1))
    guard case .wait(let moment) = state.next(at: now) else { throw Unexpected() }
    #expect(moment == now.advanced(by: .seconds(60)))
    guard case .make(let kind) = state.next(at: try #require(moment)) else { throw Unexpected() }
    #expect(kind.byteCount == pageSize)
  }

  @Test func `what is less than a request lacks is no help to it`() throws {
    let admission = Admission(floor: 0, budget: 4 << 20)
    let heap = DMABufHeap(heaps: ["system"], admission: admission)
    let live = try admission.admit(3 << 20, for: "a test")
    func admits(whenFree free: UInt64) -> Bool {
      heap.admits(
        BufferRequest(key: .fresh(), size: 2 << 20, settings: SingleBufferSettings()),
        whenFree: free)
    }
    #expect(!admits(whenFree: 0))
    #expect(!admits(whenFree: (1 << 20) - pageSize))
    #expect(admits(whenFree: 1 << 20))
    withExtendedLifetime(live) {}
  }

  /// Before Linux 7.0 a region's size alone is known.
  @Test(arguments: [nil, 4 as UInt64])
  func `of a region there is no more than its size`(_ available: UInt64?) throws {
    let folder = try TemporaryFolder()
    let region = "sys/kernel/mm/cma/reserved"
    try FileManager.default.createDirectory(
      atPath: folder.path + "/" + region, withIntermediateDirectories: true)
    _ = try folder.file(region + "/total_pages", "16\n")
    if let available { _ = try folder.file(region + "/available_pages", "\(available)\n") }
    let heap = DMABufHeap(
      heaps: ["reserved"], catalog: HeapCatalog(root: folder.path), admission: Admission(floor: 0))
    func admits(_ pages: UInt64, whenFree free: UInt64) -> Bool {
      heap.admits(
        BufferRequest(key: .fresh(), size: pages * pageSize, settings: .contiguous),
        whenFree: free * pageSize)
    }
    #expect(!admits(17, whenFree: 16))
    #expect(admits(16, whenFree: 12))
    #expect(admits(16, whenFree: 11) == (available == nil))
  }

  // MARK: Descriptors and pages

  @Test(arguments: [256, 512, 1024, 4096, 16_384, 1 << 20])
  func `a pool opens a quarter of the files that the process may open, at most`(_ limit: Int) {
    let files = min(1024, limit / 8)
    #expect(Pool.mostBuffers(besides: files) >= min(256, limit / 16))
    #expect(Pool.mostDescriptors(besides: files) <= limit / 4)
  }

  @Test func `pages can be taken out of a memfd's mapping`() throws {
    let memfd = try Memfd.create("pages", size: pageSize)
    #expect(try Zeroing.lendsPages(memfd.rawValue))
  }
}
