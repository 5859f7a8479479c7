import Testing

@testable import LinuxHeaps

@Suite struct RecheckScheduleTests {
  private static let millisecond: UInt64 = 1_000_000

  /// A schedule with its table's limits.
  private struct Paced {
    private let limits: RecheckLimits
    private var schedule = RecheckSchedule()

    init(_ recheck: Reclaimer.Recheck) { limits = RecheckLimits(recheck) }

    var due: MonotonicTime? { schedule.due }
    func isDue(at now: MonotonicTime) -> Bool { schedule.isDue(at: now) }
    mutating func startOver(at now: MonotonicTime) { schedule.startOver(at: now, limits.first) }
    mutating func backOff(from now: MonotonicTime, round: UInt64 = 0) -> MonotonicTime {
      schedule.backOff(from: now, limits, round: round)
    }
    mutating func pause() { schedule.pause() }
  }

  private static func time(_ nanoseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: nanoseconds)
  }

  @Test func `nothing is due at first`() {
    let schedule = Paced(Reclaimer.Recheck())
    #expect(schedule.due == nil)
    #expect(!schedule.isDue(at: Self.time(.max)))
  }

  @Test func `the interval doubles and ends at the longest`() {
    var schedule = Paced(
      .init(first: .milliseconds(1), longest: .milliseconds(20)))
    let start = 1_000_000 * 160 * Self.millisecond
    let dues = (0..<8).map { _ in
      _ = schedule.backOff(from: Self.time(start))
      return (schedule.due!.nanoseconds - start) / Self.millisecond
    }
    #expect(dues == [1, 2, 4, 8, 16, 20, 20, 20])
  }

  // So that all buffers that wait equally long are asked about in one wake-up.
  @Test(arguments: [0, 1, 999_999, 1_000_000, 1_500_000, 7_654_321, 1 << 50] as [UInt64])
  func `a moment is a multiple of the interval, and later`(_ now: UInt64) {
    var schedule = Paced(
      .init(first: .milliseconds(1), longest: .milliseconds(8)))
    for interval in [1, 2, 4, 8, 8].map({ $0 * Self.millisecond }) {
      _ = schedule.backOff(from: Self.time(now))
      let due = schedule.due!.nanoseconds
      #expect(due.isMultiple(of: interval))
      #expect(due > now)
      #expect(due - now <= interval)
    }
  }

  @Test func `equal waits end together`() {
    let recheck = Reclaimer.Recheck(first: .milliseconds(4), longest: .milliseconds(4))
    var (one, other) = (Paced(recheck), Paced(recheck))
    _ = one.backOff(from: Self.time(8_000_001))
    _ = other.backOff(from: Self.time(11_999_999))
    #expect(one.due == other.due)
    #expect(one.due == Self.time(12_000_000))
  }

  @Test func `it is due from its moment on`() {
    var schedule = Paced(.init())
    _ = schedule.backOff(from: Self.time(0))
    #expect(!schedule.isDue(at: Self.time(999_999)))
    #expect(schedule.isDue(at: Self.time(1_000_000)))
    #expect(schedule.isDue(at: Self.time(.max)))
  }

  @Test func `starting over is due at once, and waits the first interval again`() {
    var schedule = Paced(.init())
    for _ in 0..<5 { _ = schedule.backOff(from: Self.time(0)) }
    schedule.startOver(at: Self.time(77))
    #expect(schedule.due == Self.time(77))
    #expect(schedule.isDue(at: Self.time(77)))
    _ = schedule.backOff(from: Self.time(0))
    #expect(schedule.due == Self.time(Self.millisecond))
  }

  @Test func `a paused one is never due, and goes on where it was`() {
    var schedule = Paced(.init())
    _ = schedule.backOff(from: Self.time(0))
    schedule.pause()
    #expect(schedule.due == nil)
    #expect(!schedule.isDue(at: Self.time(.max)))
    _ = schedule.backOff(from: Self.time(0))
    #expect(schedule.due == Self.time(2 * Self.millisecond))
  }

  // A round costs n looks: 100 at 2 µs, 1,000 and 10,000 at 20 µs.
  @Test(
    arguments: [
      (200_000, 64), (499_999, 64), (20_000_000, 4096), (200_000_000, 32_768),
    ] as [(UInt64, UInt64)])
  func `the more a round costs, the longer the longest wait, so that it stays below 1 %`(
    _ round: UInt64, _ milliseconds: UInt64
  ) {
    var schedule = Paced(Reclaimer.Recheck())
    func waits() -> UInt64 {
      schedule.backOff(from: Self.time(0), round: round).nanoseconds / Self.millisecond
    }
    // 1, 2, 4 ... 64 ms, and then at once as long as it has to be.
    let all = (0..<20).map { _ in waits() }
    #expect(all.prefix(7) == [1, 2, 4, 8, 16, 32, 64])
    #expect(all.dropFirst(7).allSatisfy { $0 == milliseconds })
    #expect(Double(round) / Double(milliseconds * Self.millisecond) <= 0.01)
  }

  @Test func `no buffer waits for longer than 64 seconds, whatever looks seem to cost`() {
    var schedule = Paced(Reclaimer.Recheck())
    let waits = (0..<20).map { _ in schedule.backOff(from: Self.time(0), round: 1 << 40).nanoseconds
    }
    #expect(waits.max()! <= 66_000_000_000)
    // Where a caller asks for more, that.
    var slow = Paced(.init(first: .seconds(100), longest: .seconds(100)))
    let times = (0..<3).map { _ in slow.backOff(from: Self.time(0), round: 1 << 40).nanoseconds }
    #expect(times == [100_000_000_000, 100_000_000_000, 100_000_000_000])
  }

  @Test func `the longest wait shrinks again when most buffers are gone`() {
    var schedule = Paced(Reclaimer.Recheck())
    for _ in 0..<20 { _ = schedule.backOff(from: Self.time(0), round: 20_000_000) }
    var waits: [UInt64] = []
    for _ in 0..<9 {
      waits.append(
        schedule.backOff(from: Self.time(0), round: 100_000).nanoseconds / Self.millisecond)
    }
    #expect(waits == [4096, 2048, 1024, 512, 256, 128, 64, 64, 64])
  }
}
