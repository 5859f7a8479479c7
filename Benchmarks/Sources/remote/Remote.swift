internal import Glibc
internal import HeapClient
internal import LinuxHeaps

/// What `load rounds PATH` does, with the library's own client in place of bare messages: the same orders, the same
/// answers, the same 64 KiB. `rounds` blocks its thread for each answer, as `load` does; `tasks` awaits them.
@main
enum Remote {
  static func main() async {
    let words = CommandLine.arguments
    guard words.count == 3, ["rounds", "tasks"].contains(words[1]) else {
      fail("usage: remote rounds|tasks PATH, with the orders of load", status: EX_USAGE)
    }
    let blocks = words[1] == "rounds"
    do throws(HeapError) {
      var rounds = Rounds(try RemoteHeap(socket: words[2]))
      while let order = readLine() {
        let counts = !order.hasPrefix("warm-up ")
        guard let count = Int(order.drop { !$0.isNumber }), count > 0 else {
          fail("not a number of rounds: \(order)")
        }
        let first = rounds.count
        if blocks { try rounds.runBlocking(count) } else { try await rounds.run(count) }
        rounds.printTimes(from: first)
        if !counts { rounds.forget(from: first) }
      }
      rounds.printTimes(from: 0)
    } catch {
      fail("\(error)")
    }
  }

  private static func fail(_ text: String, status: CInt = 1) -> Never {
    let line = "remote: \(text)\n"
    _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
    exit(status)
  }
}

/// Rounds of one client, and what they took in nanoseconds.
private struct Rounds {
  private static let size: UInt64 = 65_536

  private let heap: RemoteHeap
  private let collection = UInt64(getpid())
  /// Never the same one twice, as in a client's life.
  private var index: UInt64 = 0
  private var allocations: [UInt64] = []
  private var deletions: [UInt64] = []

  init(_ heap: RemoteHeap) { self.heap = heap }

  var count: Int { allocations.count }

  mutating func runBlocking(_ count: Int) throws(HeapError) {
    reserve(count)
    for _ in 0..<count {
      let start = Self.now
      let vmo = try heap.allocateVmo(
        size: Self.size, settings: SingleBufferSettings(), bufferCollectionID: collection,
        bufferIndex: index)
      let middle = Self.now
      try heap.deleteVmo(bufferCollectionID: collection, bufferIndex: index, vmo: vmo)
      add(start, middle, Self.now)
    }
  }

  mutating func run(_ count: Int) async throws(HeapError) {
    reserve(count)
    for _ in 0..<count {
      let start = Self.now
      let vmo = try await heap.allocateVmo(
        size: Self.size, settings: SingleBufferSettings(), bufferCollectionID: collection,
        bufferIndex: index)
      let middle = Self.now
      try await heap.deleteVmo(bufferCollectionID: collection, bufferIndex: index, vmo: vmo)
      add(start, middle, Self.now)
    }
  }

  /// So that adding a time takes no memory while times are taken.
  private mutating func reserve(_ count: Int) {
    allocations.reserveCapacity(allocations.count + count)
    deletions.reserveCapacity(deletions.count + count)
  }

  private mutating func add(_ start: UInt64, _ middle: UInt64, _ end: UInt64) {
    index += 1
    allocations.append(middle - start)
    deletions.append(end - middle)
  }

  mutating func forget(from first: Int) {
    allocations.removeSubrange(first...)
    deletions.removeSubrange(first...)
  }

  func printTimes(from first: Int) {
    guard count > first else { return }
    let rounds = zip(allocations, deletions).map { $0 + $1 }
    var line = "rounds=\(count - first)"
    for (name, times) in [("round", rounds), ("allocate", allocations), ("delete", deletions)] {
      let sorted = times[first...].sorted()
      // The nearest rank: a time that was taken.
      for (rank, hundredths) in [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)] {
        line += " \(name).\(rank)=\(sorted[(sorted.count * hundredths + 99) / 100 - 1])"
      }
    }
    print(line)
    fflush(nil)
  }

  private static var now: UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
