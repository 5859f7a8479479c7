internal import Figures
internal import Foundation
internal import Glibc
internal import HeapClient
internal import HeapPool
internal import LinuxHeaps
internal import Peers

// MARK: p

extension Scenario {
  func swapChains() throws -> [Figure] {
    var roundTrips = [Int64](repeating: 0, count: 300)
    _ = unsafe try Failure.check(
      Int64(Peers_round_trips(&roundTrips, CInt(roundTrips.count))), "a socket's round trip")
    roundTrips.sort()
    // What nothing behind a socket undercuts.
    var figures = [
      Figure("a C process answers a C process, p50", Double(roundTrips[150]) / 1000, .microseconds)
    ]
    for (role, settings) in [(HeapRole.system, settings), (.contiguous, .contiguous)] {
      guard let name = HeapCatalog().heaps().first(where: { $0.role == role })?.name else {
        figures.append(Figure("\(role.rawValue)", absent: "this kernel has no such heap"))
        continue
      }
      let ioctl = try Ioctl(name)
      let plain = try Daemon(name, settings, pool: 0)
      let pooled = try Daemon(name, settings, pool: 128)
      let large = try Comparison(8 << 20, ioctl, plain, pooled)
      figures += [
        Figure("\(name), 3 x 8 MiB, by heapd, p50", large.pooled(50) / 1000, .microseconds),
        Figure("the ioctl to it, p50", large.ioctl(50) / large.pooled(50), .times, atLeast: 50),
        Figure("the ioctl to it, p99", large.ioctl(99) / large.pooled(99), .times, atLeast: 10),
      ]
      let small = try Comparison(4 << 10, ioctl, plain, pooled)
      figures += [
        Figure("\(name), 3 x 4 KiB, by heapd, p50", small.pooled(50) / 1000, .microseconds),
        Figure("without a pool to it", small.plain(50) / small.pooled(50), .times, atLeast: 1.5),
        Figure("the ioctl to it", small.ioctl(50) / small.pooled(50), .times),
      ]
      plain.end()
      pooled.end()
    }
    return figures
  }
}

/// Nanoseconds of an allocation, of three that are live at a time.
private struct Comparison {
  private var ioctlTimes: [Double] = []
  private var plainTimes: [Double] = []
  private var pooledTimes: [Double] = []

  init(
    _ size: UInt64, _ ioctl: borrowing Ioctl, _ plain: borrowing Daemon,
    _ pooled: borrowing Daemon
  ) throws {
    for turn in 0..<101 {
      let (first, second, third) = try (
        ioctl.times(size, 3), plain.times(size, 3), pooled.times(size, 3)
      )
      // Nothing has come back to the pool yet.
      if turn == 0 { continue }
      ioctlTimes += first
      plainTimes += second
      pooledTimes += third
    }
    ioctlTimes.sort()
    plainTimes.sort()
    pooledTimes.sort()
  }

  func ioctl(_ percent: Int) -> Double { ioctlTimes[ioctlTimes.count * percent / 100] }
  func plain(_ percent: Int) -> Double { plainTimes[plainTimes.count * percent / 100] }
  func pooled(_ percent: Int) -> Double { pooledTimes[pooledTimes.count * percent / 100] }
}

/// A heap's node, asked as a C program does.
private struct Ioctl: ~Copyable {
  private let device: CInt

  init(_ heap: String) throws {
    device = unsafe open("/dev/dma_heap/\(heap)", O_RDONLY | O_CLOEXEC)
    guard device >= 0 else { throw Failure(description: "/dev/dma_heap/\(heap): \(reason(errno))") }
  }

  deinit { close(device) }

  /// Nanoseconds of each of as many allocations; all are closed after the last.
  func times(_ size: UInt64, _ count: Int) throws -> [Double] {
    var buffers: [CInt] = []
    var times: [Double] = []
    for _ in 0..<count {
      let begin = now()
      let buffer = Peers_allocate(device, size)
      times.append(Double(now() - begin))
      _ = try Failure.check(Int64(buffer), "DMA_HEAP_IOCTL_ALLOC")
      buffers.append(buffer)
    }
    for buffer in buffers { close(buffer) }
    return times
  }
}

/// heapd as it is shipped, and a client of it.
private struct Daemon {
  private static let program = ".build-ship/dynamic/heapd"

  private let process: Program
  private let heap: RemoteHeap
  private let settings: SingleBufferSettings
  private let isPooled: Bool
  private let folder: String

  /// - Parameter pool: MiB.
  init(_ name: String, _ settings: SingleBufferSettings, pool: Int) throws {
    folder = "/tmp/kernel-bench.\(getpid()).\(name).\(pool)"
    self.settings = settings
    isPooled = pool > 0
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let configuration = folder + "/heapd.conf"
    try "pool-bytes = \(pool)\(isPooled ? "M" : "")\npool-idle-seconds = 600\npool-learns = off\n"
      .write(
        toFile: configuration, atomically: false, encoding: .utf8)
    let socket = folder + "/heap.sock"
    process = try Program(
      URL(filePath: Self.program),
      ["--socket", socket, "--heap", name, "--config", configuration])
    while unsafe access(socket + ".observer", F_OK) != 0 { usleep(10_000) }
    heap = try RemoteHeap(socket: socket)
  }

  func end() {
    process.stop()
    try? FileManager.default.removeItem(atPath: folder)
  }

  /// Nanoseconds of each of as many allocations. Afterwards all have come back, and lie ready where there is a pool.
  func times(_ size: UInt64, _ count: Int) throws -> [Double] {
    var vmos: [SharedVMO] = []
    var times: [Double] = []
    for index in 0..<count {
      let begin = now()
      let vmo = try heap.allocateVmo(
        size: size, settings: settings, bufferCollectionID: 1, bufferIndex: UInt64(index))
      times.append(Double(now() - begin))
      vmos.append(SharedVMO(vmo))
    }
    let ready = isPooled ? try self.ready() + count : 0
    vmos = []
    try wait("what was allocated ends") { heap.liveBufferCount == 0 }
    if isPooled { try wait("what has ended lies ready") { try self.ready() >= ready } }
    return times
  }

  private func ready() throws -> Int { try heap.statusNumber("ready") }
}

/// For two minutes.
private func wait(_ claim: String, _ isTrue: () throws -> Bool) throws {
  let end = now() + 120_000_000_000
  while try !isTrue() {
    if now() > end { throw Failure(description: "does not come true: \(claim)") }
    usleep(1000)
  }
}

// MARK: r

extension Scenario {
  /// Buffers of random sizes come and go, so that the region is nearly full and in pieces.
  func randomRounds() throws -> [Figure] {
    guard let entry = HeapCatalog().heaps().first(where: { $0.role == .contiguous }) else {
      return [Figure("10000 rounds", absent: "this kernel has no contiguous heap")]
    }
    let most = (entry.capacity ?? 64 << 20) / 20 * 19
    let plain = try failures(of: DMABufHeap(heaps: [entry.name]), most)
    let pooled = PooledHeap(
      DMABufHeap(heaps: [entry.name]), PoolSettings(byteCount: 16 << 20, learns: true))
    let withPool = try failures(of: pooled, most)
    let hits = pooled.figures.hits
    return [
      Figure("refused of 10000, without a pool", Double(plain), .rounds),
      Figure("refused of 10000, with a pool", Double(withPool), .rounds, target: Double(plain)),
      Figure("served by the pool", Double(hits), .rounds),
    ]
  }

  /// KiB, such as programs have: a few pages, and pictures.
  private static let sizes: [UInt64] = [4, 64, 600, 1200, 3600]

  /// - Parameter most: Bytes that live at a time.
  private func failures(of heap: some LocalHeap, _ most: UInt64) throws -> Int {
    var random = Xorshift()
    var live: [(vmo: SharedVMO, size: UInt64)] = []
    var bytes: UInt64 = 0
    var failures = 0
    func endOne() { bytes -= live.remove(at: random.below(live.count)).size }
    for index in 0..<10_000 {
      let size = Self.sizes[random.below(Self.sizes.count)] << 10
      do throws(HeapError) {
        let vmo = try heap.allocateVmo(
          size: size, settings: .contiguous, bufferCollectionID: 1, bufferIndex: UInt64(index))
        live.append((SharedVMO(vmo), size))
        bytes += size
      } catch {
        guard error.code == .noMemory else { throw error }
        failures += 1
        if !live.isEmpty { endOne() }
      }
      while bytes > most { endOne() }
    }
    live = []
    try wait("the last buffers end") { heap.liveBufferCount == 0 }
    return failures
  }
}

/// The same numbers for both.
private struct Xorshift {
  private var state: UInt64 = 0x9e37_79b9_7f4a_7c15

  mutating func below(_ bound: Int) -> Int {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return Int(state % UInt64(bound))
  }
}
