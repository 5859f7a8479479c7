import Foundation
import Glibc
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

@testable import HeapPool
@testable import HeapTestKit
@testable import LinuxHeapsDRM

/// A heap of the kernel with a pool before it.
struct Pooled: CustomTestStringConvertible, Sendable {
  let name: String
  let settings: SingleBufferSettings
  var testDescription: String { name }

  /// One of each role that this machine has.
  static let all = [HeapRole.system, .contiguous].compactMap { role -> Pooled? in
    guard let name = HeapCatalog().heaps().first(where: { $0.role == role && $0.isUsable })?.name
    else { return nil }
    return Pooled(name: name, settings: role == .contiguous ? .contiguous : SingleBufferSettings())
  }

  func make(_ settings: PoolSettings, admission: Admission = .standard) -> PooledHeap {
    PooledHeap(DMABufHeap(heaps: [name], admission: admission), settings)
  }

  func stock(_ byteCount: UInt64, _ count: Int) -> PoolSettings.Stock {
    PoolSettings.Stock(
      byteCount: byteCount, isContiguous: settings == .contiguous, count: count)
  }
}

extension PooledHeap {
  fileprivate func buffer(_ size: UInt64, _ pooled: Pooled, _ key: BufferKey = .fresh()) throws
    -> VMO
  {
    try allocateVmo(
      size: size, settings: pooled.settings, bufferCollectionID: key.bufferCollectionID,
      bufferIndex: key.bufferIndex)
  }

  fileprivate func becomes(ready count: Int) -> Bool {
    eventually { figures.readyBuffers == count }
  }

  /// Of one that has ended and lies ready.
  fileprivate func endOne(_ size: UInt64, _ pooled: Pooled, filledWith byte: UInt8) throws
    -> VMOIdentity
  {
    let vmo = try buffer(size, pooled)
    try vmo.withMutableBytes { bytes in
      for index in bytes.indices { bytes[index] = byte }
    }
    let identity = vmo.identity
    close(vmo)
    #expect(becomes(ready: 1))
    return identity
  }
}

/// Keeps what ends, makes nothing ahead.
private let keeping = PoolSettings(byteCount: 64 << 20, idleTime: .seconds(600), learns: false)

@Suite(.serialized, .enabled(if: !Pooled.all.isEmpty, "needs /dev/dma_heap"))
struct PooledHeapTests {
  @Test(arguments: Pooled.all)
  func `what ended is handed out again, zeroed and under a new name`(_ pooled: Pooled) throws {
    let heap = pooled.make(keeping)
    let before = try heap.endOne(1 << 20, pooled, filledWith: 0xa5)
    let key = BufferKey.fresh(7)
    let vmo = try heap.buffer(1 << 20, pooled, key)
    #expect(vmo.identity == before)
    #expect(heap.figures.hits == 1)
    #expect(try heap.info(of: vmo) == key)
    #expect(vmo.heapName == pooled.name)
    #expect(try vmo.referenceCount == 2)
    let duplicate = try OwnedFD(adopting: vmo.duplicate().releaseDescriptor().release())
    #expect(try BufferFacts(duplicate, "ask").name == key.description)
    let isZero = try vmo.withBytes { bytes in bytes.indices.allSatisfy { bytes[$0] == 0 } }
    #expect(isZero)
  }

  @Test(arguments: Pooled.all)
  func `all of a buffer is zeroed, at a rate near memset's`(_ pooled: Pooled) throws {
    let size = 8 << 20
    let vmo = try pooled.make(keeping).buffer(UInt64(size), pooled)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 4096)
    defer { unsafe memory.deallocate() }
    let clock = ContinuousClock()
    var (ofBuffer, ofMemory): ([Duration], [Duration]) = ([], [])
    for byte in UInt8(1)...9 {
      try vmo.withMutableBytes { bytes in
        for index in stride(from: Int(byte), to: size, by: 4096) { bytes[index] = byte }
      }
      ofBuffer.append(
        try vmo.withDescriptor { descriptor in
          try clock.measure { try Zeroing.zero(descriptor, UInt64(size)) }
        })
      ofMemory.append(clock.measure { unsafe memset(memory, CInt(byte), size) })
      let isZero = try vmo.withBytes { bytes in
        stride(from: Int(byte), to: size, by: 4096).allSatisfy { bytes[$0] == 0 }
      }
      #expect(isZero)
    }
    // The first memset takes the memory's pages.
    let ratio = ofBuffer.sorted()[4] / ofMemory.sorted()[4]
    print("\(pooled.name): zeroing takes \(ofBuffer.sorted()[4]), \(ratio) times memset")
  }

  /// Who had a buffer could keep a page of it, and nothing would count that.
  @Test(arguments: Pooled.all)
  func `no page can be taken out of a mapping`(_ pooled: Pooled) throws {
    let vmo = try pooled.make(keeping).buffer(pageSize, pooled)
    let lends = try vmo.withDescriptor { descriptor in try Zeroing.lendsPages(descriptor) }
    #expect(!lends)
  }

  @Test(arguments: Pooled.all)
  func `another size or kind is not served by it`(_ pooled: Pooled) throws {
    let heap = pooled.make(keeping)
    let before = try heap.endOne(1 << 20, pooled, filledWith: 1)
    #expect(try heap.buffer(2 << 20, pooled).identity != before)
    #expect(heap.figures.hits == 0)
  }

  /// Who has a buffer when its handle is closed. A device holds it by the import, and can make a descriptor of it anew (drm-prime(7)).
  private static let holders = ["mapping", "slice"] + TestDevice.names

  @Test(arguments: Pooled.all, holders)
  func `a holder keeps it out of the pool, and nothing that it wrote is handed out`(
    _ pooled: Pooled, _ holder: String
  ) throws {
    let heap = pooled.make(keeping)
    let size: UInt64 = 1 << 20
    let vmo = try heap.buffer(size, pooled)
    let identity = vmo.identity
    try vmo.fill(0x77)
    var mapping: Mapping<ReadWrite>?
    var slice: VMO?
    var device: DumbBuffer?
    switch holder {
    case "mapping": mapping = try vmo.map()
    case "slice": slice = try vmo.slice(offset: pageSize, byteCount: size - pageSize)
    default:
      device = DumbBuffer(
        handle: try TestDevice.open(holder).importBuffer(vmo), bytesPerRow: 0, byteCount: size)
    }
    close(vmo)
    usleep(200_000)
    #expect(heap.liveBufferCount == 1)
    #expect(heap.figures.bytes == 0)
    let other = try heap.buffer(size, pooled)
    #expect(other.identity != identity)
    // The last byte, as late as a holder can.
    switch holder {
    case "mapping": try mapping!.store(0x78, at: Int(size) - 1)
    case "slice": try slice!.poke(0x78, at: Int(size - pageSize) - 1)
    default: try device!.export().poke(0x78, at: Int(size) - 1)
    }
    #expect(try other.isZero)
    _ = mapping.take()
    _ = slice.take()
    _ = device.take()
    #expect(heap.becomes(ready: 1))
    let again = try heap.buffer(size, pooled)
    #expect(again.identity == identity)
    #expect(try again.isZero)
  }

  @Test(arguments: Pooled.all)
  func `however often it is handed out, it is zero`(_ pooled: Pooled) throws {
    let heap = pooled.make(keeping)
    let identity = try heap.endOne(1 << 20, pooled, filledWith: 1)
    for round in UInt8(2)...5 {
      let vmo = try heap.buffer(1 << 20, pooled)
      #expect(vmo.identity == identity)
      #expect(try vmo.isZero)
      try vmo.fill(round)
      close(vmo)
      #expect(heap.becomes(ready: 1))
    }
    #expect(heap.figures.hits == 4)
  }

  /// They are reserved, and few.
  @Test(.enabled(if: HugeHeap.isUsable, "needs udmabuf and huge pages"))
  func `huge pages are not kept`() throws {
    let heap = PooledHeap(DMABufHeap(heaps: [HugeHeap.name]), keeping)
    for _ in 0..<2 {
      let vmo = try heap.allocate(byteCount: 1 << 20, contiguous: true)
      #expect(vmo.heapName == HugeHeap.name)
      #expect(try vmo.isZero)
      try vmo.fill(1)
    }
    #expect(eventually { heap.liveBufferCount == 0 })
    #expect(heap.figures == PoolFigures())
  }

  @Test(
    .enabled(
      if: ChargedGroup.canBeMade && MemoryPressure() != nil,
      "needs root in the root group of version 2, and PSI"),
    arguments: Pooled.all)
  func `all of it goes while tasks wait for memory, and nothing is made ahead`(
    _ pooled: Pooled
  ) throws {
    var settings = keeping
    settings.stock = [pooled.stock(1 << 20, 3)]
    let admission = Admission()
    let heap = pooled.make(settings, admission: admission)
    #expect(heap.hearsOfPressure)
    #expect(heap.becomes(ready: 3))
    let held = try heap.buffer(2 << 20, pooled)
    close(try heap.buffer(2 << 20, pooled))
    #expect(heap.becomes(ready: 4))
    let group = try ChargedGroup("pressure", high: 4 << 20)
    let hog = Process()
    hog.executableURL = URL(fileURLWithPath: group.start[0])
    // Who is above memory.high has to wait, in the kernel, before it goes on: that is pressure, of the whole machine, too.
    hog.arguments =
      group.start.dropFirst() + ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M"]
    hog.standardError = FileHandle.nullDevice
    try hog.run()
    #expect(eventually { heap.figures.bytes == 0 })
    // The thread closes what it has let go.
    #expect(eventually { admission.liveBytes == 2 << 20 })
    hog.kill()
    try group.leave()
    usleep(200_000)
    #expect(heap.figures.bytes == 0)
    // A request is served all the same.
    #expect(try heap.buffer(1 << 20, pooled).isZero)
    close(held)
  }

  @Test(arguments: Pooled.all)
  func `what one user had is for no other, and what is new for everybody`(_ pooled: Pooled) throws {
    var settings = keeping
    let heap = pooled.make(settings)
    func make(for user: UInt32) throws(HeapError) -> BufferMemory {
      try heap.makeMemory(
        for: BufferRequest(key: .fresh(), size: 64 << 10, settings: pooled.settings, owner: user))
    }
    let first = try make(for: 1).parent.identity
    #expect(heap.becomes(ready: 1))
    #expect(try make(for: 2).parent.identity != first)
    #expect(heap.becomes(ready: 2))
    #expect(try make(for: 1).parent.identity == first)
    #expect(heap.becomes(ready: 2))
    settings.stock = [pooled.stock(64 << 10, 1)]
    heap.change(settings)
    #expect(heap.becomes(ready: 3))
    #expect(try make(for: 3).parent.identity != first)
    #expect(heap.figures.hits == 2)
  }

  @Test(arguments: Pooled.all)
  func `what is asked for to be ready is, and is made again`(_ pooled: Pooled) throws {
    var settings = keeping
    settings.stock = [pooled.stock(1 << 20, 3)]
    let heap = pooled.make(settings)
    #expect(heap.becomes(ready: 3))
    var kept: [SharedVMO] = []
    for _ in 0..<3 { kept.append(SharedVMO(try heap.buffer(1 << 20, pooled))) }
    #expect(heap.figures.hits == 3)
    #expect(heap.becomes(ready: 3))
    kept = []
    #expect(eventually { heap.liveBufferCount == 0 })
  }

  @Test(arguments: Pooled.all)
  func `it learns how many are missed, and forgets them`(_ pooled: Pooled) throws {
    let heap = pooled.make(
      PoolSettings(byteCount: 64 << 20, idleTime: .seconds(5), learns: true))
    let first = try heap.buffer(256 << 10, pooled)
    #expect(heap.figures.misses == 1)
    #expect(heap.becomes(ready: 1))
    let second = try heap.buffer(256 << 10, pooled)
    #expect(heap.figures.hits == 1)
    #expect(heap.becomes(ready: 1))
    close(first)
    close(second)
    #expect(heap.becomes(ready: 3))
    #expect(eventually { heap.figures.bytes == 0 })
  }

  @Test(arguments: Pooled.all)
  func `it keeps within its bytes, and lets the oldest go`(_ pooled: Pooled) throws {
    var settings = keeping
    settings.byteCount = 3 << 20
    let heap = pooled.make(settings)
    func buffers() throws -> [SharedVMO] {
      try (0..<3).map { _ in SharedVMO(try heap.buffer(1 << 20, pooled)) }
    }
    var vmos = try buffers()
    let identities = vmos.map { $0.vmo.identity }
    let oldest = try heap.endOne(1 << 20, pooled, filledWith: 1)
    vmos = []
    #expect(eventually { heap.liveBufferCount == 0 })
    #expect(heap.becomes(ready: 3))
    #expect(heap.figures.bytes == 3 << 20)
    vmos = try buffers()
    #expect(Set(vmos.map { $0.vmo.identity }) == Set(identities))
    #expect(!identities.contains(oldest))
    vmos = []
    #expect(eventually { heap.liveBufferCount == 0 })
    // Too large for it.
    close(try heap.buffer(4 << 20, pooled))
    #expect(eventually { heap.figures.refused == 1 })
    #expect(heap.becomes(ready: 3))
  }

  /// As a device's that is still at work on it. It is asked for a second.
  @Test(.enabled(if: SoftwareTimeline() != nil, "needs CONFIG_SW_SYNC"), arguments: Pooled.all)
  func `a fence keeps it out of the pool`(_ pooled: Pooled) throws {
    guard let timeline = SoftwareTimeline() else { return }
    let heap = pooled.make(keeping)
    let vmo = try heap.buffer(1 << 20, pooled)
    try vmo.add(try timeline.fence(at: 1), for: .writing)
    close(vmo)
    #expect(eventually { heap.figures.refused == 1 })
    #expect(heap.figures.readyBuffers == 0)
  }

  @Test(arguments: Pooled.all)
  func `it gives its memory back before a request is refused, and counts in admission`(
    _ pooled: Pooled
  ) throws {
    let admission = Admission(floor: 0, budget: 4 << 20)
    let heap = pooled.make(keeping, admission: admission)
    _ = try heap.endOne(3 << 20, pooled, filledWith: 1)
    #expect(admission.liveBytes == 3 << 20)
    let vmo = try heap.buffer(4 << 20, pooled)
    #expect(heap.figures.bytes == 0)
    #expect(admission.liveBytes == 4 << 20)
    #expect(throws: HeapError.self) { _ = try heap.buffer(4096, pooled) }
    close(vmo)
    #expect(heap.becomes(ready: 1))
    heap.change(PoolSettings(byteCount: 0))
    #expect(eventually { admission.liveBytes == 0 })
  }

  @Test(arguments: Pooled.all)
  func `a request for more than there can be does not empty it`(_ pooled: Pooled) throws {
    let heap = pooled.make(keeping, admission: Admission(floor: 0, budget: 4 << 20))
    let held = try heap.buffer(1 << 20, pooled)
    _ = try heap.endOne(1 << 20, pooled, filledWith: 1)
    let error = #expect(throws: HeapError.self) { _ = try heap.buffer(4 << 20, pooled) }
    #expect(error?.code == .noMemory)
    #expect(heap.figures.readyBuffers == 1)
    close(held)
  }

  @Test(arguments: Pooled.all)
  func `what went for nothing is made again at once`(_ pooled: Pooled) throws {
    var settings = keeping
    settings.stock = [pooled.stock(1 << 20, 2)]
    let pool = Pool(DMABufHeap(heaps: [pooled.name]), settings)
    pool.begin()
    #expect(eventually { pool.figures.readyBuffers == 2 })
    #expect(throws: HeapError.self) {
      try pool.retry { () throws(HeapError) -> Bool in
        #expect(pool.figures.bytes == 0)
        throw HeapError(.noMemory, "a test")
      }
    }
    #expect(eventually { pool.figures.readyBuffers == 2 })
    #expect(try pool.retry { () throws(HeapError) in true } == true)
    usleep(100_000)
    #expect(pool.figures.bytes == 0)
    pool.close()
  }

  // In a process of its own, for it opens all that it may.
  @Test func `its descriptors serve a request that finds none`() async {
    await #expect(processExitsWith: .success) {
      var limit = rlimit(rlim_cur: 512, rlim_max: 512)
      precondition(unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
      for pooled in Pooled.all {
        var settings = keeping
        settings.stock = [pooled.stock(64 << 10, 4)]
        let heap = pooled.make(settings)
        // While there is one, what all need stays open.
        let held = try heap.buffer(1 << 20, pooled)
        precondition(heap.becomes(ready: 4))
        var files: [SharedFD] = []
        while let file = try? SharedFD(.open("/dev/null", O_RDONLY)) { files.append(file) }
        // For the memory, and none for its handle.
        files.removeLast()
        let vmo = try heap.buffer(2 << 20, pooled)
        // libdispatch ends a process that has no descriptor for its threads.
        files = []
        let isZero = try vmo.isZero
        precondition(isZero && heap.figures.bytes == 0)
        close(vmo)
        close(held)
      }
    }
  }

  /// Of two sizes that have room one at a time, in turns: what is being zeroed, or made, goes as well.
  @Test(arguments: Pooled.all)
  func `what its thread has in hand has no request refused`(_ pooled: Pooled) throws {
    let admission = Admission(floor: 0, budget: 9 << 20)
    var settings = keeping
    settings.stock = [pooled.stock(1 << 20, 1)]
    let heap = pooled.make(settings, admission: admission)
    for round: UInt64 in 0..<20 {
      close(try heap.buffer((8 + round % 2) << 20, pooled))
    }
  }

  @Test(arguments: Pooled.all)
  func `with the heap all of it goes`(_ pooled: Pooled) throws {
    let admission = Admission()
    var heap: PooledHeap? = pooled.make(keeping, admission: admission)
    _ = try heap!.endOne(1 << 20, pooled, filledWith: 1)
    let held = try heap!.buffer(2 << 20, pooled)
    heap = nil
    #expect(eventually { admission.liveBytes == 2 << 20 })
    close(held)
    #expect(eventually { admission.liveBytes == 0 })
  }

  /// But for those to which memory that lies ready is not closed: a count of descriptors, and a region that is to be free again.
  private static let checks = Pooled.all.flatMap { pooled in
    let heap = HeapUnderTest(name: pooled.name, kind: .dmaHeap, settings: pooled.settings) {
      pooled.make(
        PoolSettings(byteCount: 64 << 20, idleTime: .milliseconds(300), learns: true))
    }
    // What is open, and what is left of a region, the pool's thread changes at any time.
    let others = ["descriptors", "same-region", "slice-bounds"]
    return HeapCheck.all(for: heap).filter { !others.contains($0.name) }
      .map { Case(heap: heap, check: $0) }
  }

  @Test(arguments: checks)
  func `it passes as the heap itself does`(_ test: Case) async throws {
    if case .failed(let reason) = await test.check.run(on: test.heap) { Issue.record("\(reason)") }
  }

  @Test(arguments: Pooled.all)
  func `random work with random ends`(_ pooled: Pooled) async throws {
    // Time for a few steps, also where all is emulated; what lies there goes before it is taken for a leak.
    let heap = pooled.make(
      PoolSettings(byteCount: 64 << 20, idleTime: .seconds(2), learns: true))
    let run = try await StressRun(
      heap: heap, name: pooled.name, settings: pooled.settings, seed: 11)
    let report = try await run.run(until: .steps(300))
    #expect(report.failure == nil)
    #expect(report.leaks == [])
    #expect(heap.figures.hits > 0)
  }

  @Test(arguments: Pooled.all)
  func `nothing of before is ever seen`(_ pooled: Pooled) throws {
    let heap = pooled.make(
      PoolSettings(byteCount: 8 << 20, idleTime: .milliseconds(100), learns: true))
    var generator = SystemRandomNumberGenerator()
    var live: [SharedVMO] = []
    for step in 0..<400 {
      if live.count > 6 { live.remove(at: Int.random(in: 0..<live.count, using: &generator)) }
      let pages = UInt64.random(in: 1...32, using: &generator)
      let vmo = try heap.buffer(pages * pageSize, pooled)
      let sum = try vmo.withMutableBytes { bytes in
        var sum = 0
        for index in bytes.indices {
          sum += Int(bytes[index])
          bytes[index] = UInt8(truncatingIfNeeded: step | 1)
        }
        return sum
      }
      #expect(sum == 0)
      live.append(SharedVMO(vmo))
    }
    #expect(heap.figures.hits > 0)
  }
}
