internal import CLibrary
internal import LinuxHeaps

package import struct SystemPackage.Errno

/// What a check works with: a heap of its own, and the means to ask for memory and to wait.
final class CheckBench: Sendable {
  let subject: HeapUnderTest
  let heap: any Heap
  private let seed: UInt64
  private let given = Guarded<[DeviceAnswer]>([])

  /// The collection of all buffers that a check allocates.
  static let collection: UInt64 = 0x1122_3344_5566_7788

  init(_ subject: HeapUnderTest, seed: UInt64 = 0) throws {
    self.subject = subject
    self.seed = seed
    heap = try subject.make()
  }

  var isMappable: Bool { HeapCheck.mappable.contains(subject.kind) }

  /// Several pages, so that it can be sliced, and small enough for every heap.
  static let size = 16 * pageSize

  /// The check's own random numbers, from their beginning.
  var random: SeededGenerator { SeededGenerator(seed) }

  func allocate(
    _ size: UInt64 = CheckBench.size, index: UInt64 = 0, cleanup: [CleanupAction] = []
  ) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: size, settings: subject.settings, bufferCollectionID: Self.collection,
      bufferIndex: index, cleanup: cleanup)
  }

  /// The kernel's count of references, without those of a moment: whoever reads a buffer's fdinfo holds
  /// the file meanwhile, as a reclaimer does, and a server closes its vmo only after it has sent it.
  func referenceCount(of vmo: borrowing VMO) throws(HeapError) -> Int? {
    guard var least = try vmo.referenceCount else { return nil }
    for _ in 0..<(subject.isRemote ? 10 : 2) {
      usleep(1_000)
      least = min(least, try vmo.referenceCount ?? least)
    }
    return least
  }

  /// Where the kernel counts: what the count was has risen by so much.
  func expectCount(
    _ count: Int?, plus rise: Int, of vmo: borrowing VMO, _ when: String
  ) throws {
    guard let count else { return }
    try expectEqual(try referenceCount(of: vmo), count + rise, "count \(when)")
  }

  /// Notes what a device answered, for the report.
  func note(_ answer: DeviceAnswer) { given.withLock { $0.append(answer) } }

  var answers: [DeviceAnswer] { given.withLock { $0 } }

  func delete(_ vmo: consuming VMO, index: UInt64 = 0) async throws(HeapError) {
    try await heap.deleteVmo(
      bufferCollectionID: Self.collection, bufferIndex: index, vmo: vmo)
  }

  /// The request is refused with this code.
  func expectRefusal(
    _ code: HeapError.Code, _ request: String, _ body: () throws -> Void
  ) throws {
    do {
      try body()
    } catch let error as HeapError {
      try expectEqual(error.code, code, "the refusal of \(request)")
      return
    }
    throw Broken(description: "\(request) was not refused")
  }

  /// Waits until `holds` does.
  func eventually(_ claim: String, _ holds: () throws -> Bool) throws {
    let deadline = ContinuousClock.now + subject.patience
    while ContinuousClock.now < deadline {
      if try holds() { return }
      usleep(1_000)
    }
    throw Broken(description: "does not come true: \(claim)")
  }

  /// The same for what another task does: on a machine of one processor, and in heapctl, all tasks share one thread.
  func eventually(tasks claim: String, _ holds: () throws -> Bool) async throws {
    let deadline = ContinuousClock.now + subject.patience
    while ContinuousClock.now < deadline {
      if try holds() { return }
      await Task.yield()
      usleep(1_000)
    }
    throw Broken(description: "does not come true: \(claim)")
  }

  func eventuallyReclaimed(_ after: String) throws {
    try eventually("the buffer is reclaimed after \(after)") { heap.liveBufferCount == 0 }
  }

  /// The buffer is held by nothing but what `holder` names: it stays through several re-checks.
  func expectStillLive(while holder: String) throws {
    if subject.isRemote {
      // Longer than the service waits between two looks.
      usleep(300_000)
    } else {
      let reclaimer = Reclaimer.shared
      for _ in 0..<3 {
        let wakeups = reclaimer.counters.wakeups
        reclaimer.recheckNow()
        try eventually("the reclaimer looks again") { reclaimer.counters.wakeups > wakeups }
      }
    }
    try expectEqual(heap.liveBufferCount, 1, "the count of live buffers while \(holder)")
  }
}

extension MessageSocket {
  /// The descriptor in the next message.
  func receiveDescriptor() throws -> OwnedFD {
    guard var message = try receive(), let descriptor = message.descriptors.next() else {
      throw Broken(description: "the descriptor does not arrive")
    }
    return descriptor
  }
}

/// A number that threads count up.
final class Tally: Sendable {
  private let cell = Guarded(0)
  var count: Int { cell.withLock { $0 } }
  func add() { cell.withLock { $0 += 1 } }
}

/// What this process's open descriptors are of, as the links in /proc/self/fd name it: "/dmabuf:lh:1.0",
/// "socket:[4711]".
package struct OpenDescriptors {
  private var counts: [String: Int] = [:]

  package init() throws(Errno) {
    for number in try SmallFile.entries(of: "/proc/self/fd") {
      // Gone: the listing's own.
      guard let target = try? SmallFile.link("/proc/self/fd/\(number)"),
        !Self.isRuntimes(target), !Self.isKept(target)
      else { continue }
      counts[target, default: 0] += 1
    }
  }

  /// libdispatch, under Swift's tasks, opens the `stat` of its threads once a second, for a moment
  /// (event/workqueue.c), and a timer for the first task of the process that sleeps (event/event_epoll.c).
  private static func isRuntimes(_ target: String) -> Bool {
    target.hasSuffix("/stat") || target == "anon_inode:[timerfd]"
  }

  /// Whether a link in /proc/PID/fd is of what heaps keep open from one buffer to the next (HeapDevices, FDInfoFiles), or
  /// of a BPF program's place in the kernel: heapd attaches and detaches those beside its work (DMABufCloses).
  package static func isKept(_ target: String) -> Bool {
    target.hasPrefix("/dev/dma_heap") || target.hasPrefix("/sys/kernel/mm/cma/")
      || target.holds("/fdinfo/") || target.holds("bpf_link") || target.holds("bpf-link")
  }

  /// What is open now and was not then, sorted. What others closed meanwhile is no matter.
  package func opened(since earlier: OpenDescriptors) -> [String] {
    counts.flatMap { target, count in
      Array(repeating: target, count: max(0, count - earlier.counts[target, default: 0]))
    }.sorted()
  }
}
