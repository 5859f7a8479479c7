import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct AdmissionTests {
  private static let operation = "allocate 8 MiB"

  private static func refusal(
    _ admission: Admission, _ size: UInt64, from source: Admission.Source = .pages
  ) -> HeapError? {
    do throws(HeapError) {
      try admission.admit(size, from: source, operation, at: "/dev/dma_heap/x").giveBack()
      return nil
    } catch {
      return error
    }
  }

  @Test(
    arguments: [
      // (floor, available, size, is admitted), MiB
      (0, 100, 100, true), (0, 100, 101, false), (60, 100, 40, true), (60, 100, 41, false),
      (100, 100, 0, true), (100, 100, 1, false), (200, 100, 1, false), (0, 0, 1, false),
    ] as [(UInt64, UInt64, UInt64, Bool)])
  func `a floor is left to the rest of the machine`(
    _ floor: UInt64, _ available: UInt64, _ size: UInt64, _ isAdmitted: Bool
  ) {
    let admission = Admission(floor: floor * mebibyte, on: .of(available: available))
    for source in [Admission.Source.pages, .pagesAtFirstUse] {
      let error = Self.refusal(admission, size * mebibyte, from: source)
      #expect((error == nil) == isAdmitted)
      #expect(error == nil || error?.code == .noMemory)
    }
    #expect(admission.liveBytes == 0)
  }

  @Test func `a sixteenth is the floor where none is given`() {
    let admission = Admission(floor: nil, on: .of(total: 1600, available: 300))
    #expect(Self.refusal(admission, 200 * mebibyte) == nil)
    #expect(Self.refusal(admission, 200 * mebibyte + 1)?.code == .noMemory)
  }

  @Test func `a refusal names the figures, the file and what helps`() {
    let admission = Admission(floor: 64 * mebibyte, on: .of(available: 70))
    let error = Self.refusal(admission, 8 * mebibyte)
    #expect(error?.operation == Self.operation)
    #expect(error?.path?.string == "/dev/dma_heap/x")
    #expect(error?.cause == "70 MiB are available, less a floor of 64 MiB")
    #expect(error?.fix?.isEmpty == false)
  }

  @Test func `a proc of processes alone is told, and is no heap that is not there`() throws {
    let machine = try TemporaryDirectory()
    try machine.directory("proc/self")
    let files = MachineFiles(root: machine.path)
    func error() -> HeapError {
      Admission.unread(.noSuchFileOrDirectory, Self.operation, in: files)
    }
    #expect(error().code == .notSupported)
    #expect(error().cause == "proc is not mounted there")
    try machine.file("proc/self/stat")
    #expect(error().code == .notSupported)
    #expect(error().path?.string == machine.path + "/proc/meminfo")
    #expect(error().cause == "this /proc shows processes alone (subset=pid)")
    #expect(error().fix?.contains("[Service] ProcSubset=all") == true)
    let other = Admission.unread(.permissionDenied, Self.operation, in: files)
    #expect(other.code == .accessDenied)
  }

  @Test func `a budget is held, and told with what is live`() throws {
    let admission = Admission(budget: 10 * mebibyte, on: .of(available: 1024))
    let first = try admission.admit(4 * mebibyte, from: .pages, Self.operation)
    let second = try admission.admit(5 * mebibyte, from: .pages, Self.operation)
    #expect(admission.liveBytes == 9 * mebibyte)
    let error = Self.refusal(admission, 2 * mebibyte)
    #expect(error?.code == .noMemory)
    #expect(error?.cause == "the budget is 10 MiB, of which 9 MiB are live")
    #expect(Self.refusal(admission, mebibyte) == nil)
    first.giveBack()
    #expect(Self.refusal(admission, 5 * mebibyte) == nil)
    #expect(Self.refusal(admission, 6 * mebibyte)?.code == .noMemory)
    second.giveBack()
    #expect(admission.liveBytes == 0)
  }

  @Test(arguments: [.pages, .pagesAtFirstUse, .nothing, .region(region)] as [Admission.Source])
  func `a budget holds for every source`(_ source: Admission.Source) {
    let admission = Admission(budget: mebibyte, on: .of(available: 1024))
    #expect(Self.refusal(admission, mebibyte, from: source) == nil)
    #expect(Self.refusal(admission, mebibyte + 1, from: source)?.code == .noMemory)
    #expect(Self.refusal(admission, .max, from: source)?.code == .noMemory)
  }

  private static let region = CMARegion(
    name: "reserved", total: 128 * mebibyte, available: 2 * mebibyte)

  @Test func `a region serves what is free in it`() {
    let admission = Admission(on: .of(available: 0))
    #expect(Self.refusal(admission, 2 * mebibyte, from: .region(Self.region)) == nil)
    let error = Self.refusal(admission, 3 * mebibyte, from: .region(Self.region))
    #expect(error?.code == .noMemory)
    #expect(
      error?.cause == "the contiguous region reserved has 128 MiB, of which 2 MiB are free")
  }

  @Test func `a region that does not tell serves its size`() {
    let admission = Admission(on: .of(available: 0))
    let region = CMARegion(name: "reserved", total: 128 * mebibyte, available: nil)
    #expect(Self.refusal(admission, 128 * mebibyte, from: .region(region)) == nil)
    let error = Self.refusal(admission, 129 * mebibyte, from: .region(region))
    #expect(error?.cause == "the contiguous region reserved has 128 MiB")
  }

  // MemAvailable counts the free pages of contiguous regions; only movable pages may borrow them,
  // and a memfd's are.
  @Test func `free contiguous pages serve no system heap`() {
    let admission = Admission(on: .of(available: 100, contiguousFree: 60, contiguousTotal: 64))
    #expect(Self.refusal(admission, 40 * mebibyte) == nil)
    #expect(
      Self.refusal(admission, 50 * mebibyte)?.cause
        == "40 MiB are available, less a floor of 0 B")
    #expect(Self.refusal(admission, 100 * mebibyte, from: .pagesAtFirstUse) == nil)
  }

  @Test func `what has no pages needs no memory`() {
    let admission = Admission(floor: .max, on: .of(available: 0))
    #expect(Self.refusal(admission, 1 << 62, from: .nothing) == nil)
  }

  private final class SlowPages: PromisedPages {
    static let asked = Atomic(0)

    var untouchedBytes: UInt64 {
      Self.asked.add(1, ordering: .relaxed)
      usleep(100)
      return mebibyte / 2
    }
  }

  @Test func `not each request that is refused has all promises looked at`() throws {
    let admission = Admission(on: .of(available: 64))
    let charges = try (0..<30).map { _ in
      var grant = try admission.admit(mebibyte, from: .pagesAtFirstUse, Self.operation)
      grant.watch(SlowPages())
      return grant.settled()
    }
    for _ in 0..<40 {
      #expect(Self.refusal(admission, 50 * mebibyte)?.cause.contains("15 MiB promised") == true)
    }
    #expect(SlowPages.asked.load(ordering: .relaxed) < 10 * charges.count)
    for charge in charges { charge.end() }
    #expect(Self.refusal(admission, 50 * mebibyte) == nil)
  }

  // MARK: A control group's limit

  private static func limit(_ bytes: UInt64, used: UInt64 = 0) -> ControlGroup.Limit {
    .init(
      directory: "/sys/fs/cgroup/a", file: "memory.max", bytes: bytes * mebibyte,
      used: used * mebibyte)
  }

  @Test(arguments: [.pages, .pagesAtFirstUse] as [Admission.Source])
  func `what a group is charged for has to fit its limit`(_ source: Admission.Source) {
    let admission = Admission(on: .of(available: 1024), in: Self.limit(64, used: 20))
    #expect(Self.refusal(admission, 40 * mebibyte, from: source) == nil)
    let error = Self.refusal(admission, 40 * mebibyte + pageSize, from: source)
    #expect(error?.code == .noMemory)
    #expect(error?.path?.string == "/sys/fs/cgroup/a")
    #expect(
      error?.cause == "memory.max is 64 MiB, of which 44 MiB are left, less a margin of 4 MiB")
    #expect(error?.fix?.isEmpty == false)
    #expect(admission.liveBytes == 0)
  }

  @Test(arguments: [.unchargedPages, .nothing, .region(region)] as [Admission.Source])
  func `what a group is not charged for does not`(_ source: Admission.Source) throws {
    let admission = Admission(on: .of(available: 1024), in: Self.limit(1, used: 1))
    let other = try admission.admit(2 * mebibyte, from: source, Self.operation)
    other.giveBack()
    #expect(Self.refusal(admission, pageSize)?.code == .noMemory)
  }

  @Test func `only what is charged is spoken for in a group`() throws {
    let admission = Admission(on: .of(available: 1024), in: Self.limit(64))
    let uncharged = try admission.admit(512 * mebibyte, from: .unchargedPages, Self.operation)
    let charged = try admission.admit(30 * mebibyte, from: .pages, Self.operation)
    #expect(
      Self.refusal(admission, 31 * mebibyte)?.cause
        == "memory.max is 64 MiB, of which 64 MiB are left, less a margin of 4 MiB"
        + " and 30 MiB promised to others")
    #expect(Self.refusal(admission, 30 * mebibyte) == nil)
    // Settled, it shows in the group's own figures.
    charged.settled().end()
    uncharged.giveBack()
    #expect(Self.refusal(admission, 60 * mebibyte) == nil)
  }

  /// What is in a group of that limit, and how often the limit was read.
  private static func counting(_ limit: ControlGroup.Limit?) -> (Admission, Guarded<Int>) {
    let readings = Guarded(0)
    let admission = Admission(
      floor: 0, budget: nil,
      group: { () throws(Errno) in
        readings.withLock { $0 += 1 }
        return limit
      }, memory: { () throws(Errno) in .of(available: 1 << 20) })
    return (admission, readings)
  }

  @Test func `small requests do not have a group read`() throws {
    let (admission, readings) = Self.counting(nil)
    for _ in 0..<1000 {
      try admission.admit(pageSize, from: .pages, Self.operation).giveBack()
    }
    // Every second, and here every 16 MiB.
    #expect(readings.withLock { $0 } < 10)
    for _ in 0..<100 {
      try admission.admit(2 * mebibyte, from: .unchargedPages, Self.operation).giveBack()
    }
    #expect(readings.withLock { $0 } < 10)
  }

  @Test func `after a large request a group is read again`() throws {
    let (admission, readings) = Self.counting(Self.limit(64))
    let charge = try admission.admit(50 * mebibyte, from: .pages, Self.operation).settled()
    #expect(readings.withLock { $0 } == 1)
    #expect(Self.refusal(admission, pageSize) == nil)
    #expect(readings.withLock { $0 } == 2)
    #expect(Self.refusal(admission, pageSize) == nil)
    #expect(readings.withLock { $0 } == 2)
    charge.end()
  }

  /// One that swaps two of 8 MiB, and one of three, which are more than one reading is good for.
  @Test(arguments: [2, 3])
  func `buffers that come and go do not have a group read`(_ count: Int) throws {
    let (admission, readings) = Self.counting(nil)
    var live = try (0..<count).map { _ in
      try admission.admit(8 * mebibyte, from: .pages, Self.operation).settled()
    }
    let (before, begin) = (readings.withLock { $0 }, MonotonicTime.now.nanoseconds)
    for _ in 0..<1000 {
      live.removeFirst().end()
      live.append(try admission.admit(8 * mebibyte, from: .pages, Self.operation).settled())
    }
    let seconds = Int((MonotonicTime.now.nanoseconds - begin) / 1_000_000_000)
    #expect(readings.withLock { $0 } - before <= 1 + seconds)
    for charge in live { charge.end() }
  }

  /// Ended, their pages can still be there.
  @Test func `half of what a group has left at most comes and goes before it is read again`() throws
  {
    let (admission, readings) = Self.counting(Self.limit(512))
    for _ in 0..<1000 {
      try admission.admit(8 * mebibyte, from: .pages, Self.operation).settled().end()
    }
    // 8000 MiB, and 480 are left: after 240.
    #expect(readings.withLock { $0 } >= 8000 / 240)
    #expect(readings.withLock { $0 } < 8000 / 100)
  }

  @Test func `16 MiB at most are there before a new limit is seen`() throws {
    let limit = Guarded<ControlGroup.Limit?>(nil)
    let admission = Admission(
      floor: 0, budget: nil, group: { () throws(Errno) in limit.withLock { $0 } },
      memory: { () throws(Errno) in .of(available: 1 << 20) })
    #expect(Self.refusal(admission, mebibyte) == nil)
    limit.withLock { $0 = Self.limit(64, used: 64) }
    #expect(Self.refusal(admission, 17 * mebibyte)?.code == .noMemory)
    limit.withLock { $0 = nil }
    #expect(Self.refusal(admission, 17 * mebibyte) == nil)
    limit.withLock { $0 = Self.limit(64, used: 64) }
    var live: [Admission.Charge] = []
    let error = TestSupport.refusal { () throws(HeapError) in
      while live.count < 100 {
        live.append(try admission.admit(mebibyte, from: .pages, Self.operation).settled())
      }
    }
    #expect(error?.code == .noMemory)
    #expect(live.count <= 16)
    for charge in live { charge.end() }
  }

  /// The machine has them already; those that are taken away meanwhile are made anew for the group's account.
  @Test func `pages of others need room in the group, and none in the machine`() throws {
    let admission = Admission(
      floor: 0, budget: nil, group: { () throws(Errno) in Self.limit(64, used: 0) },
      memory: { () throws(Errno) in .of(available: 1) })
    #expect(Self.refusal(admission, 32 * mebibyte, from: .pagesOfOthers) == nil)
    #expect(Self.refusal(admission, 64 * mebibyte, from: .pagesOfOthers)?.code == .noMemory)
    #expect(admission.liveBytes == 0)
  }

  @Test func `a group that cannot be read is an error`() {
    let admission = Admission(
      floor: 0, budget: nil, group: { () throws(Errno) in throw .tooManyOpenFiles },
      memory: { () throws(Errno) in .of(available: 100) })
    let error = Self.refusal(admission, mebibyte)
    #expect(error?.code == .noResources)
    #expect(error?.path?.string == "/proc/self/cgroup")
    #expect(admission.liveBytes == 0)
    #expect(Self.refusal(admission, mebibyte, from: .unchargedPages) == nil)
  }

  @Test func `a machine that tells nothing is an error`() {
    let admission = Admission(floor: 0, budget: nil) { () throws(Errno) in throw .permissionDenied }
    let error = Self.refusal(admission, mebibyte)
    #expect(error?.code == .accessDenied)
    #expect(error?.path?.string == "/proc/meminfo")
    #expect(admission.liveBytes == 0)
    #expect(Self.refusal(admission, mebibyte, from: .nothing) == nil)
  }
}

extension Admission {
  /// For a machine whose figures stay as they are.
  convenience init(
    floor: UInt64? = 0, budget: UInt64? = nil, on machine: MachineMemory,
    in group: ControlGroup.Limit? = nil
  ) {
    self.init(
      floor: floor, budget: budget, group: { () throws(Errno) in group },
      memory: { () throws(Errno) in machine })
  }
}
