import HeapTestKit
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

/// Memory by name alone.
private final class NamedParent: Parent {
  let identity: VMOIdentity
  let kind = VMO.Kind.dmaBuf
  let descriptor: CInt = -1
  let watchedDescriptor: CInt? = nil

  init(_ inode: UInt64) { identity = VMOIdentity(device: 1, inode: inode) }

  func eventsAreWatched() {}
  func children(_ counts: FDInfoFiles, besides copies: Int) -> Children { .some }
  func referenceCount() -> Int? { nil }
  func openChild() throws(Errno) -> OwnedFD { throw .notSupported }
}

extension BufferTable {
  fileprivate mutating func settle(
    _ place: Int, _ inode: UInt64, watch: CInt? = nil, _ core: ReclaimerCore
  ) -> Buffer {
    let buffer = Buffer(core, hasCleanup: false, isReported: watch != nil)
    settle(
      place, buffer, NamedParent(inode), watch.map { CloseEvents.Watch(number: $0) }, nil, [])
    return buffer
  }

  /// A look that finds no child; whoever gets the buffer says that it is gone.
  fileprivate mutating func takeBack(_ place: Int) -> Bool {
    guard beginLook(place) != nil else { return false }
    guard case .going(let going) = endLook(place, .none, at: .now) else { return false }
    _ = gone(going.place)
    return true
  }
}

@Suite struct BufferTableTests {
  private static let core = ReclaimerCore(.init())
  private static let key = BufferKey(bufferCollectionID: 0, bufferIndex: 0)

  @Test func `only the steps of a buffer's life are allowed`() {
    let states: [BufferTable.State] = [.making, .live, .deleting, .going, .gone]
    let allowed = states.map { state in states.filter { state.allows($0) } }
    #expect(allowed == [[.live, .gone], [.deleting, .going], [.going], [.gone], [.making]])
  }

  @Test func `who looks while another looks has the other look again`() {
    var table = BufferTable(.init())
    let place = table.reserve(Self.key, in: .next())!
    let buffer = table.settle(place, 7, Self.core)
    #expect(table.beginLook(place) != nil)
    #expect(table.beginLook(place) == nil)
    guard case .again = table.endLook(place, .some, at: .now) else {
      Issue.record("not looked at again")
      return
    }
    #expect(table.place(of: buffer) == place)
  }

  @Test func `a turn looks once at each buffer, however often that was asked for`() {
    var table = BufferTable(.init())
    let heap = HeapNumber.next()
    let places = (0..<3 as Range<UInt64>).map { index in
      let place = table.reserve(BufferKey(bufferCollectionID: 0, bufferIndex: index), in: heap)!
      table.settle(place, NamedParent(index), nil, nil)
      return place
    }
    for _ in 0..<100 { table.startAllOver(at: .now) }
    #expect(table.takeDue(at: .now, atMost: 64) == places)
    #expect(table.takeDue(at: .now, atMost: 64) == [])
  }

  /// The moments of looks that all find a child, from 0 on.
  private static func looks(_ count: Int, at place: Int, of table: inout BufferTable) -> [UInt64] {
    var now = MonotonicTime(nanoseconds: 0)
    return (0..<count).map { _ in
      _ = table.beginLook(place)
      if case .wait(let next?) = table.endLook(place, .some, at: now) { now = next }
      return now.nanoseconds / 1_000_000
    }
  }

  /// A processor that was taken away meanwhile, by a hypervisor or another thread.
  @Test func `a look that was interrupted does not put off the next for long`() {
    var table = BufferTable(.init())
    let places = (0..<32 as Range<UInt64>).map { index in
      let place = table.reserve(BufferKey(bufferCollectionID: 0, bufferIndex: index), in: .next())!
      table.settle(place, NamedParent(index), nil, nil)
      return place
    }
    // Of 200 ms, and then of 10 µs.
    for time: UInt64 in [200_000_000, 10_000, 10_000] { table.learn(time, for: 1) }
    #expect(Self.looks(9, at: places[0], of: &table) == [1, 2, 4, 8, 16, 32, 64, 128, 192])
    table.learn(200_000_000, for: 1)
    #expect(Self.looks(2, at: places[0], of: &table) == [64, 128])
    // What all looks cost counts in the end.
    for _ in 0..<50 { table.learn(800_000, for: 1) }
    #expect(Self.looks(2, at: places[0], of: &table) == [64, 4096])
  }

  @Test func `a deletion has a buffer looked at again soon`() {
    var table = BufferTable(.init())
    let place = table.reserve(Self.key, in: .next())!
    table.settle(place, NamedParent(7), nil, nil)
    _ = Self.looks(12, at: place, of: &table)
    let identity = NamedParent(7).identity
    guard case .begun = table.beginDeletion(place, identity, nil) else {
      Issue.record("not deleted")
      return
    }
    #expect(Self.looks(3, at: place, of: &table) == [1, 2, 4])
    // One that was asked for before hastens nothing.
    _ = table.beginDeletion(place, identity, nil)
    #expect(Self.looks(2, at: place, of: &table) == [8, 16])
  }

  @Test func `what could not be asked is asked again, also where a report is awaited`() {
    var table = BufferTable(.init())
    let place = table.reserve(Self.key, in: .next())!
    table.settle(place, NamedParent(7), nil, nil)
    table.setHinted(place, true)
    for children in [Children.some, .unknown] {
      #expect(table.beginLook(place) != nil)
      guard case .wait(let moment) = table.endLook(place, children, at: .now) else {
        Issue.record("it has children, as far as is known")
        return
      }
      #expect((moment == nil) == (children == .some))
    }
  }

  @Test func `a buffer that this process refers to is not looked at`() {
    var table = BufferTable(.init())
    let place = table.reserve(Self.key, in: .next())!
    let buffer = table.settle(place, 7, Self.core)
    buffer.beginLocalReference()
    #expect(table.beginLook(place) == nil)
    buffer.endLocalReferenceUnnoticed()
    let isGone = table.takeBack(place)
    #expect(isGone)
    #expect(table.place(of: buffer) == nil)
  }

  // MARK: Collections' lifetimes

  private static func tracker(_ remaining: UInt32) -> LifetimeTracker {
    LifetimeTracker(buffersRemaining: remaining) {}
  }

  @Test(
    arguments: [
      // (buffers, remaining, ends until it is due: 0 for at once)
      (0, 0, 0), (0, 5, 0), (1, 0, 1), (1, 1, 0), (1, 2, 0), (2, 0, 2), (2, 1, 1), (2, 2, 0),
      (5, 0, 5), (5, 2, 3), (5, 4, 1), (5, 5, 0), (5, .max, 0),
    ] as [(Int, UInt32, Int)])
  func `a tracker is due when few enough are left`(
    _ buffers: Int, _ remaining: UInt32, _ ends: Int
  ) throws {
    var table = BufferTable(.init())
    let heap = HeapNumber.next()
    // Another heap's, and another collection's.
    _ = table.reserve(BufferKey(bufferCollectionID: 7, bufferIndex: 0), in: .next())
    _ = table.reserve(BufferKey(bufferCollectionID: 8, bufferIndex: 0), in: heap)
    let places = (0..<UInt64(buffers)).map {
      table.reserve(BufferKey(bufferCollectionID: 7, bufferIndex: $0), in: heap)!
    }
    let tracker = Self.tracker(remaining)
    let isDueAtOnce = table.attach(tracker, to: 7, of: heap)
    #expect(isDueAtOnce == (ends == 0))
    for (end, place) in zip(1..., places) {
      let due = table.gone(place)?.trackers ?? []
      #expect(due.map { $0 === tracker } == (end == ends ? [true] : []))
    }
  }

  @Test func `each tracker is due by itself, also of buffers that come later`() throws {
    var table = BufferTable(.init())
    let heap = HeapNumber.next()
    var places = [table.reserve(Self.key, in: heap)!]
    let isDue = table.attach(Self.tracker(0), to: 0, of: heap)
    #expect(!isDue)
    places += (1...2).map {
      table.reserve(BufferKey(bufferCollectionID: 0, bufferIndex: $0), in: heap)!
    }
    for remaining: UInt32 in [1, 0, 2] {
      let isDue = table.attach(Self.tracker(remaining), to: 0, of: heap)
      #expect(!isDue)
    }
    let dues = places.map { table.gone($0)?.trackers.map(\.buffersRemaining) }
    #expect(dues == [[2], [1], [0, 0]])
  }
}

/// The table against a model of dictionaries.
@Suite struct BufferTableModelTests {
  private struct Entry {
    let key: BufferKey
    let heap: HeapNumber
    let place: Int
    var state = BufferTable.State.making
    var inodes: [UInt64] = []
    var buffer: Buffer?
    var isLookedAt = false
    var ends = 0
  }

  private static let core = ReclaimerCore(.init())

  @Test(arguments: 0..<8 as Range<UInt64>)
  func `random steps lead where the model goes`(_ seed: UInt64) throws {
    var random = SeededGenerator(seed)
    var table = BufferTable(.init())
    let heaps = [HeapNumber.next(), .next()]
    var model: [Int: Entry] = [:]
    var lastInode: UInt64 = 0
    var (told, expected) = (Guarded(0), 0)
    for step in 0..<4000 {
      let entry = model.values.randomElement(using: &random)
      switch UInt8.random(in: 0..<14, using: &random) {
      case 0, 1:
        let key = BufferKey(
          bufferCollectionID: .random(in: 0..<4, using: &random),
          bufferIndex: .random(in: 0..<64, using: &random))
        let heap = heaps.randomElement(using: &random)!
        let isTaken = model.values.contains { $0.key == key && $0.heap == heap }
        let place = table.reserve(key, in: heap)
        #expect((place == nil) == isTaken)
        if let place { model[place] = Entry(key: key, heap: heap, place: place) }
      case 2, 3:
        guard var entry, entry.state == .making else { continue }
        if Bool.random(using: &random) {
          lastInode += 1
          let watch = Bool.random(using: &random) ? CInt(lastInode) : nil
          entry.buffer = table.settle(entry.place, lastInode, watch: watch, Self.core)
          (entry.state, entry.inodes) = (.live, [lastInode])
          model[entry.place] = entry
        } else {
          _ = table.gone(entry.place)
          model[entry.place] = nil
        }
      case 4:
        guard var entry, entry.state == .live else { continue }
        lastInode += 1
        table.add(NamedParent(lastInode), to: entry.place)
        entry.inodes.append(lastInode)
        model[entry.place] = entry
      case 5:
        guard var entry else { continue }
        let isRight = Bool.random(using: &random)
        let inode = isRight ? entry.inodes.randomElement(using: &random) ?? 0 : .max
        let end = Bool.random(using: &random) ? DeletionEnd() : nil
        let found = table.beginDeletion(
          table.place(of: entry.key, in: entry.heap), VMOIdentity(device: 1, inode: inode), end)
        let isOpen = entry.state == .live || entry.state == .deleting && end == nil
        switch found {
        case .begun:
          #expect(isOpen && isRight)
          entry.state = .deleting
          model[entry.place] = entry
        case .wrongHandle: #expect(isOpen && !isRight || entry.state == .making && end == nil)
        case .unknown: #expect(!isOpen)
        }
      case 6, 7, 8:
        guard var entry, let buffer = entry.buffer else { continue }
        let canLook = entry.state == .live || entry.state == .deleting
        let began = table.beginLook(entry.place) != nil
        #expect(began == (canLook && !entry.isLookedAt))
        #expect(table.place(of: buffer) == entry.place)
        if began { entry.isLookedAt = true }
        model[entry.place] = entry
      case 9, 10, 11:
        guard var entry, entry.isLookedAt else { continue }
        let children = [Children.none, .copies, .some, .unknown].randomElement(using: &random)!
        switch table.endLook(entry.place, children, at: .now) {
        case .going(let going):
          #expect(children == .none && going.place == entry.place)
          entry.state = .going
        case .copies: #expect(children == .copies)
        case .again: #expect(children == .some)
        case .wait: #expect(children == .some || children == .unknown)
        }
        entry.isLookedAt = false
        model[entry.place] = entry
      default:
        guard var entry else { continue }
        if entry.state == .going {
          let ended = table.gone(entry.place)
          #expect((ended?.waiters.count ?? 0) == entry.ends)
          expected += entry.ends
          for waiter in ended?.waiters ?? [] { waiter() }
          model[entry.place] = nil
          #expect(entry.buffer?.place.load(ordering: .relaxed) == -1)
        } else {
          table.wait(entry.place) { [told] in told.withLock { $0 += 1 } }
          entry.ends += 1
          model[entry.place] = entry
        }
      }
      if step % 8 == 0 { try Self.compare(table, model, lastInode) }
    }
    #expect(told.withLock { $0 } == expected && expected > 0)
  }

  private static func compare(
    _ table: borrowing BufferTable, _ model: [Int: Entry], _ lastInode: UInt64
  )
    throws
  {
    try #require(table.count == model.count)
    for entry in model.values {
      try #require(table.place(of: entry.key, in: entry.heap) == entry.place)
      try #require(table[entry.place].state == entry.state)
      for inode in entry.inodes {
        let found = table.place(of: VMOIdentity(device: 1, inode: inode))
        try #require(found == (entry.state == .going ? nil : entry.place))
      }
    }
    #expect(table.place(of: VMOIdentity(device: 1, inode: lastInode + 1)) == nil)
  }
}
