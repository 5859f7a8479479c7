internal import Glibc
internal import HeapClient
internal import LinuxHeaps

/// What `load rounds PATH` does, with the library's own client in place of bare messages: the same orders, the same
/// answers, the same 64 KiB.
@main
enum Remote {
  static func main() async {
    guard CommandLine.arguments.count == 3, CommandLine.arguments[1] == "rounds" else {
      fail("usage: remote rounds PATH, with the orders of load", status: EX_USAGE)
    }
    do throws(HeapError) {
      var rounds = Rounds(try RemoteHeap(socket: CommandLine.arguments[2]))
      while let order = readLine() {
        let counts = !order.hasPrefix("warm-up ")
        guard let count = Int(order.drop { !$0.isNumber }), count > 0 else {
          fail("not a number of rounds: \(order)")
        }
        let first = rounds.count
        try await rounds.run(count)
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
  private let heap: RemoteHeap
  /// Never the same one twice, as in a client's life.
  private var index: UInt64 = 0
  private var allocations: [UInt64] = []
  private var deletions: [UInt64] = []

  init(_ heap: RemoteHeap) { self.heap = heap }

  var count: Int { allocations.count }

  mutating func run(_ count: Int) async throws(HeapError) {
    // So that adding a time takes no memory while times are taken.
    allocations.reserveCapacity(allocations.count + count)
    deletions.reserveCapacity(deletions.count + count)
    let collection = UInt64(getpid())
    for _ in 0..<count {
      let start = Self.now
      let vmo = try allocate(collection)
      let middle = Self.now
      try await heap.deleteVmo(bufferCollectionID: collection, bufferIndex: index, vmo: vmo)
      let end = Self.now
      index += 1
      allocations.append(middle - start)
      deletions.append(end - middle)
    }
  }

  private func allocate(_ collection: UInt64) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: 65_536, settings: SingleBufferSettings(), bufferCollectionID: collection,
      bufferIndex: index)
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
