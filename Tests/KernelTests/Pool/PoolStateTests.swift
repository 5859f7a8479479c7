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

  private func entry(_ kind: PoolKind, isNew: Bool = false) throws -> PoolEntry {
    let memory = try heap.makeMemory(
      for: BufferRequest(
        key: .fresh(), size: kind.byteCount, settings: SingleBufferSettings()))
    let parent = memory.parent
    return PoolEntry(
      PoolMemory(parent: parent, heapName: "memfd", kind: kind, owner: nil, isNew: isNew),
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
      let stays = state.giveBack(try entry(returned))
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

  /// Whoever ends a small buffer does not wait for the pages of large ones.
  @Test mutating func `what makes room is left to the thread`() throws {
    let large = kind(pages: Int((60 << 20) / pageSize))
    var stays = state.giveBack(try entry(large))
    #expect(stays)
    let small = kind(pages: Int((8 << 20) / pageSize))
    stays = state.giveBack(try entry(small))
    #expect(stays)
    guard case .drop(let gone) = state.next(at: now) else {
      Issue.record("nothing goes")
      return
    }
    #expect(gone.map(\.byteCount) == [60 << 20])
    for entry in gone { entry.end() }
    let tooLarge = try entry(kind(pages: Int((65 << 20) / pageSize)))
    stays = state.giveBack(tooLarge)
    #expect(!stays)
    tooLarge.end()
    #expect(state.figures.bytes == 8 << 20)
    for entry in state.takeAll() { entry.end() }
  }
}
