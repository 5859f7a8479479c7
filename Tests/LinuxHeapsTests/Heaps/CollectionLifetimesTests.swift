import Testing

@testable import LinuxHeaps

@Suite struct CollectionLifetimesTests {
  private static func tracker(_ remaining: UInt32) throws -> LifetimeTracker {
    let file = try Memfd.create("tracker", size: 0)
    return LifetimeTracker(file, buffersRemaining: remaining)
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
    var lifetimes = CollectionLifetimes()
    for _ in 0..<buffers { lifetimes.begin(7) }
    let tracker = try Self.tracker(remaining)
    let isDueAtOnce = lifetimes.attach(tracker, to: 7)
    #expect(isDueAtOnce == (ends == 0))
    for end in 1..<max(buffers + 1, 1) + 1 {
      let due = lifetimes.end(7)
      #expect(due.map { $0 === tracker } == (end == ends ? [true] : []))
    }
  }

  @Test func `each tracker is due by itself`() throws {
    var lifetimes = CollectionLifetimes()
    for _ in 0..<3 { lifetimes.begin(7) }
    for remaining: UInt32 in [0, 1, 0, 2] {
      let isDue = lifetimes.attach(try Self.tracker(remaining), to: 7)
      #expect(!isDue)
    }
    let dues = (0..<3).map { _ in lifetimes.end(7).map(\.buffersRemaining) }
    #expect(dues == [[2], [1], [0, 0]])
  }

  @Test func `collections are apart`() throws {
    var lifetimes = CollectionLifetimes()
    lifetimes.begin(0)
    lifetimes.begin(.max)
    let (one, other) = (try Self.tracker(0), try Self.tracker(0))
    let isDue = [lifetimes.attach(one, to: 0), lifetimes.attach(other, to: .max)]
    #expect(isDue == [false, false])
    let dues = [lifetimes.end(.max), lifetimes.end(0)]
    #expect(dues[0].map { $0 === other } == [true])
    #expect(dues[1].map { $0 === one } == [true])
  }

  @Test func `a collection begins anew after its end`() throws {
    var lifetimes = CollectionLifetimes()
    lifetimes.begin(7)
    #expect(lifetimes.end(7).isEmpty)
    lifetimes.begin(7)
    let tracker = try Self.tracker(0)
    let isDue = lifetimes.attach(tracker, to: 7)
    #expect(!isDue)
    lifetimes.begin(7)
    #expect(lifetimes.end(7).isEmpty)
    #expect(lifetimes.end(7).map { $0 === tracker } == [true])
  }

  @Test func `the end of what never began is nothing`() throws {
    var lifetimes = CollectionLifetimes()
    #expect(lifetimes.end(7).isEmpty)
    lifetimes.begin(7)
    let isDue = lifetimes.attach(try Self.tracker(0), to: 7)
    #expect(!isDue)
  }
}
