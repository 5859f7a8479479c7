internal import CHeapWire
internal import Figures
internal import Glibc

/// What can be measured, by the letter that `--only` takes.
enum Scenario: String, CaseIterable {
  case roundTrip = "a"
  case crowd = "b"
  case idle = "c"
  case start = "d"
  case death = "e"
  case remote = "f"
  case counts = "g"
  case loading = "h"

  var title: String {
    switch self {
    case .roundTrip: "AllocateVmo and DeleteVmo of 64 KiB: heapd and the baseline, in turns"
    case .crowd: "the same beside 100 connections that hold 10,000 buffers, and without them"
    case .idle: "heapd without a buffer"
    case .start: "from the start of a process to READY=1, 30 times, on any processor"
    case .death: "from the kill of a client to its 8 buffers' end, 300 times"
    case .remote: "AllocateVmo and DeleteVmo of heapd: RemoteHeap and a bare client, in turns"
    case .counts: "instructions and allocations of a memfd buffer, by valgrind"
    case .loading: "a program from start to end, with liblinuxheaps.so.0 and without, in turns"
    }
  }

  func measure(_ programs: Programs, in scratch: borrowing Scratch) throws(Failure) -> [Figure] {
    switch self {
    case .roundTrip: try Self.measureRoundTrip(programs, in: scratch)
    case .crowd: try Self.measureCrowd(programs, in: scratch)
    case .idle: try Self.measureIdle(programs, in: scratch)
    case .start: try Self.measureStart(programs, in: scratch)
    case .death: try Self.measureDeath(programs, in: scratch)
    case .remote: try Self.measureRemote(programs, in: scratch)
    case .counts: try Self.measureCounts(programs, in: scratch)
    case .loading: try Self.measureLoading(programs, in: scratch)
    }
  }

  /// What heapd costs beyond the system calls that its work needs.
  private static func measureRoundTrip(
    _ programs: Programs, in scratch: borrowing Scratch
  ) throws(Failure) -> [Figure] {
    let heapd = try Server(programs.heapd, "heapd", in: scratch)
    let baseline = try Server(programs.baseline, "baseline", in: scratch)
    let turns = try Turns(Client(of: heapd, programs.load), Client(of: baseline, programs.load))
    return try turns.times("heapd", "baseline") + [
      Figure("p50 ratio", turns.medianRatio, .times, target: 1.12),
      Figure("p99 ratio", turns.tailRatio, .times, target: 3),
    ]
  }

  /// By default one user may not hold so many.
  private static let crowdConfiguration = """
    user-connections = 200
    user-buffers = 20000
    connection-buffers = 20000
    total-buffers = 20000
    user-bytes = 8G
    connection-bytes = 8G
    total-bytes = 8G

    """

  /// Whether a call costs more the more buffers live, and whether these cost anything by themselves.
  private static func measureCrowd(
    _ programs: Programs, in scratch: borrowing Scratch
  ) throws(Failure) -> [Figure] {
    let options = ["--config", try scratch.write(crowdConfiguration, as: "crowd.conf")]
    let empty = try Server(programs.heapd, "empty", in: scratch, options: options)
    let crowded = try Server(programs.heapd, "crowded", in: scratch, options: options)
    // So that what a first buffer needs is no part of the others' share.
    try useForAWhile(crowded, programs.load)
    let resident = try crowded.residentBytes()
    let crowd = try Client(programs.load, ["hold", crowded.socket, "100", "10000"])
    _ = try crowd.answer()
    let growth = try Double(crowded.residentBytes()) - Double(resident)
    let turns = try Turns(Client(of: crowded, programs.load), Client(of: empty, programs.load))
    // The clients that took turns are gone; what they leave to be done shall be done.
    rest(for: .seconds(1))
    let start = ContinuousClock.now
    let before = try crowded.processorTimes()
    rest(for: .seconds(10))
    // 1 is one whole processor.
    let share =
      try Double(increase(from: before, to: crowded.processorTimes())) / 1e9
      / ((ContinuousClock.now - start) / .seconds(1))
    crowd.endOrders()
    return try turns.times("crowded", "empty") + [
      Figure("p50 ratio", turns.medianRatio, .times, target: 1.2),
      Figure("processor time at rest", share * 100, .percent, target: 1),
      Figure("resident memory, a live buffer", growth / 10_000, .bytes, target: 600),
    ]
  }

  /// Whether a server that has nothing to do does nothing.
  private static func measureIdle(
    _ programs: Programs, in scratch: borrowing Scratch
  ) throws(Failure) -> [Figure] {
    let server = try Server(programs.heapd, "idle", in: scratch)
    // What it does at its start after it has said that it is ready is no wake-up.
    rest(for: .seconds(1))
    let resident = try server.residentBytes()
    try useForAWhile(server, programs.load)
    let before = try server.switches()
    rest(for: .seconds(10))
    let switches = increase(from: before, to: try server.switches())
    return [
      Figure("wake-ups in 10 s", Double(switches), .times, target: 0),
      Figure("resident memory", Double(resident) / 1_048_576, .mebibytes, target: 8),
    ]
  }

  /// A server that had buffers, and has none now, shall be as quiet as one that never had any.
  private static func useForAWhile(
    _ server: borrowing Server, _ load: String
  ) throws(Failure) {
    let client = try Client(of: server, load)
    _ = try client.times(of: "1000")
    _ = try client.totalTimes()
    rest(for: .seconds(1))
  }

  /// How soon a client can be served after a boot or a crash.
  private static func measureStart(
    _ programs: Programs, in scratch: borrowing Scratch
  ) throws(Failure) -> [Figure] {
    var times: [Double] = []
    for number in 0..<30 {
      // Other services start too, and the one that waits runs elsewhere: any processor.
      let server = try Server(programs.heapd, "start-\(number)", in: scratch, on: nil)
      times.append(server.startTime / .milliseconds(1))
    }
    return [
      Figure("median", percentile(50, of: times), .milliseconds, target: 30),
      Figure("max", percentile(100, of: times), .milliseconds, target: 30),
    ]
  }

  /// How soon the memory of a client that dies is free.
  private static func measureDeath(
    _ programs: Programs, in scratch: borrowing Scratch
  ) throws(Failure) -> [Figure] {
    let server = try Server(programs.heapd, "death", in: scratch)
    var observer = try Observer(of: server)
    var times: [Double] = []
    for _ in 0..<300 {
      let victim = try Client(programs.load, ["pass", server.socket, "8"])
      for _ in 0..<8 {
        guard let vmo = try victim.answer().descriptor else {
          throw Failure("a client passed on no vmo")
        }
        try observer.await(vmo)
      }
      // The server reads and closes these vmos; it must not be the one that keeps them.
      rest(for: .milliseconds(5))
      let start = ContinuousClock.now
      victim.kill()
      try observer.waitForAll()
      times.append((ContinuousClock.now - start) / .milliseconds(1))
    }
    return [
      Figure("p50", percentile(50, of: times), .milliseconds),
      Figure("p99", percentile(99, of: times), .milliseconds, target: 5),
    ]
  }

  /// What the library's client costs beyond its messages, with one server for both.
  private static func measureRemote(
    _ programs: Programs, in scratch: borrowing Scratch
  ) throws(Failure) -> [Figure] {
    let server = try Server(programs.heapd, "remote", in: scratch)
    let turns = try Turns(Client(of: server, programs.remote), Client(of: server, programs.load))
    let tasks = try Turns(
      Client(programs.remote, ["tasks", server.socket]), Client(of: server, programs.load))
    return try turns.times("RemoteHeap", "bare") + [
      Figure("p50 ratio", turns.medianRatio, .times, target: 1.3),
      Figure("p99 ratio", turns.tailRatio, .times),
      Figure("p50 ratio, answers awaited in a task", tasks.medianRatio, .times),
    ]
  }

  /// What the library and heapd do for a buffer, in numbers that no neighbour changes.
  private static func measureCounts(
    _ programs: Programs, in scratch: borrowing Scratch
  ) throws(Failure) -> [Figure] {
    // valgrind 3.19 cannot read what Swift's compiler writes for debuggers.
    let library = "\(scratch.path)/kernel-bench"
    _ = try output(
      of: ["strip", "--strip-debug", "-o", library, programs.kernelBench], "strip", in: scratch)
    var figures: [Figure] = []
    for counter in Counter.allCases {
      var inProcess: [Double] = []
      var served: [Double] = []
      for rounds in [200, 1200] {
        let name = "\(counter)-\(rounds)"
        inProcess.append(
          try counter.count(
            in: output(
              of: counter.command + [library, "loop", "memfd", "\(rounds)"], "\(name)-library",
              in: scratch)))
        let server = try Server(
          programs.heapd, "\(name)-heapd", in: scratch, under: counter.command)
        let client = try Client(of: server, programs.load)
        _ = try client.times(of: "\(rounds)")
        _ = try client.totalTimes()
        served.append(try counter.count(in: server.stop()))
      }
      let (library, heapd) = counter.targets
      figures += [
        Figure(
          "allocate and close, in process", (inProcess[1] - inProcess[0]) / 1000, counter.unit,
          target: library),
        Figure(
          "AllocateVmo and DeleteVmo, heapd", (served[1] - served[0]) / 1000, counter.unit,
          target: heapd),
      ]
    }
    return figures
  }

  /// What a program of C's pays for the library before it calls it.
  private static func measureLoading(
    _ programs: Programs, in scratch: borrowing Scratch
  ) throws(Failure) -> [Figure] {
    let ways = [["LD_PRELOAD=\(programs.library)"], []]
    // A library that is not there would be left out, with a word on standard error.
    let maps = try output(of: ways[0] + ["cat", "/proc/self/maps"], "maps", in: scratch)
    guard maps.firstRange(of: "/liblinuxheaps.so.0\n") != nil else {
      throw Failure("\(programs.library) is not loaded")
    }
    var times: [[Double]] = [[], []]
    for turn in 0..<400 {
      // Each is the earlier one as often as the other.
      let way = (turn + turn / 2) % 2
      let start = ContinuousClock.now
      _ = try output(of: ways[way] + ["true"], "true", in: scratch)
      times[way].append((ContinuousClock.now - start) / .milliseconds(1))
    }
    let (with, without) = (percentile(50, of: times[0]), percentile(50, of: times[1]))
    return [
      Figure("p50, with it", with, .milliseconds),
      Figure("p50, without", without, .milliseconds),
      Figure("the difference", with - without, .milliseconds, target: 15),
    ]
  }
}

/// What valgrind(1) counts from a program's start to its end.
private enum Counter: CaseIterable {
  case instructions
  case allocations

  var command: [String] {
    switch self {
    case .instructions: ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    case .allocations: ["valgrind", "--tool=memcheck", "--leak-check=no"]
    }
  }

  var unit: Figure.Unit {
    switch self {
    case .instructions: .instructions
    case .allocations: .allocations
    }
  }

  var targets: (library: Double, heapd: Double) {
    switch self {
    case .instructions: (10_000, 28_000)
    case .allocations: (10, 20)
    }
  }

  /// - Parameter log: `Collected : 2578363` or `total heap usage: 1,234 allocs` is in it.
  func count(in log: String) throws(Failure) -> Double {
    let label =
      switch self {
      case .instructions: "Collected : "
      case .allocations: "total heap usage: "
      }
    guard let start = log.firstRange(of: label)?.upperBound,
      let count = Double(
        log[start...].prefix { $0.isNumber || $0 == "," }.replacing(",", with: ""))
    else { throw Failure("valgrind has not said \"\(label)\"") }
    return count
  }
}

/// The nearest rank, as the client computes it: a value that was measured. `values` has one.
private func percentile(_ hundredths: Int, of values: [Double]) -> Double {
  let sorted = values.sorted()
  return sorted[(sorted.count * hundredths + 99) / 100 - 1]
}

/// Two servers or clients measured in one run, by turns: what slows the machine for a second slows both.
///
/// Each turn of both gives a ratio, and the median of these is what counts: a machine that does
/// other work besides, or changes its speed, spoils single turns.
private struct Turns {
  private static let count = 30
  private static let rounds = 1000

  /// The times of all turns together.
  private let first: Times
  private let second: Times
  /// First by second, turn by turn.
  private var medianRatios: [Double] = []
  private var tailRatios: [Double] = []

  init(_ one: consuming Client, _ other: consuming Client) throws(Failure) {
    _ = try one.times(of: "warm-up \(Self.rounds * 3)")
    _ = try other.times(of: "warm-up \(Self.rounds * 3)")
    for number in 0..<Self.count {
      // Each is the earlier one as often as the other.
      let isEven = number.isMultiple(of: 2)
      let early = try isEven ? Self.turn(one) : Self.turn(other)
      let late = try isEven ? Self.turn(other) : Self.turn(one)
      let (first, second) = isEven ? (early, late) : (late, early)
      medianRatios.append(try first("round.p50") / second("round.p50"))
      tailRatios.append(try first("round.p99") / second("round.p99"))
    }
    first = try one.totalTimes()
    second = try other.totalTimes()
  }

  private static func turn(_ client: borrowing Client) throws(Failure) -> Times {
    try client.times(of: "\(rounds)")
  }

  /// Of the p50 of a round.
  var medianRatio: Double { percentile(50, of: medianRatios) }

  /// Of the p99 of a round.
  var tailRatio: Double { percentile(50, of: tailRatios) }

  /// The figures that explain a ratio.
  func times(_ firstName: String, _ secondName: String) throws(Failure) -> [Figure] {
    var figures: [Figure] = []
    for name: Substring in ["round.p50", "round.p99", "allocate.p50", "delete.p50"] {
      let words = name.replacing(".", with: " ")
      figures.append(Figure("\(words), \(firstName)", try first(name) / 1e3, .microseconds))
      figures.append(Figure("\(words), \(secondName)", try second(name) / 1e3, .microseconds))
    }
    for (name, ratios) in [("p50", medianRatios), ("p99", tailRatios)] {
      figures.append(Figure("\(name) ratio, p10 of the turns", percentile(10, of: ratios), .times))
      figures.append(Figure("\(name) ratio, p90 of the turns", percentile(90, of: ratios), .times))
    }
    return figures
  }
}

/// A connection to the observer's socket, which tells when buffers are fully reclaimed.
private struct Observer: ~Copyable {
  private let connection: Descriptor
  private var lastTransaction: UInt32 = 0
  private var awaited: Set<UInt32> = []

  init(of server: borrowing Server) throws(Failure) {
    let path = "\(server.socket).observer"
    connection = Descriptor(
      adopting: try check(
        unsafe Wire_connect(path, CInt(SOCK_SEQPACKET.rawValue), 0), "cannot connect to \(path)"))
  }

  /// Has the end of a buffer reported, and closes the vmo here.
  mutating func await(_ vmo: CInt) throws(Failure) {
    defer { close(vmo) }
    lastTransaction += 1
    awaited.insert(lastTransaction)
    var message = Wire_observe(lastTransaction, UInt64(Wire_AWAIT_RECLAIMED))
    let bytes = unsafe withUnsafeBytes(of: &message) { unsafe Array($0) }
    try connection.send(bytes, passing: vmo)
  }

  /// Waits until all awaited buffers are reclaimed.
  mutating func waitForAll() throws(Failure) {
    let deadline = ContinuousClock.now + .seconds(10)
    while !awaited.isEmpty {
      guard connection.waitToRead(until: deadline) else {
        throw Failure("\(awaited.count) buffers of a dead client not reclaimed in 10 s")
      }
      try take(try connection.receive().bytes)
    }
  }

  private mutating func take(_ reply: [UInt8]) throws(Failure) {
    if reply.isEmpty { throw Failure("the server hung up on the observer") }
    var result = Wire_Result()
    // Where it is only a header, `member` stays 0.
    let length = min(reply.count, MemoryLayout.size(ofValue: result))
    unsafe withUnsafeMutableBytes(of: &result) { unsafe $0.copyBytes(from: reply[..<length]) }
    guard result.header.ordinal == UInt64(Wire_AWAIT_RECLAIMED),
      awaited.remove(result.header.txid) != nil
    else { throw Failure("not a reply to AwaitReclaimed: \(reply)") }
    // A flexible method's reply is a union: 1 is the response, all else a refusal.
    guard result.member == 1 else { throw Failure("AwaitReclaimed refused: \(reply)") }
  }
}
