import CCloseTests
import CLinuxHeaps
import Glibc
import LinuxHeapsDRM
import LinuxHeapsV4L2
import SystemPackage
import TestSupport
import Testing

@testable import HeapSurvey
@testable import LinuxHeaps

@Suite(.serialized) struct DMABufClosesTests {
  private static let hasTypes = unsafe access(BPF.typesPath, R_OK) == 0

  @Test func `it loads, or it is said why not`() throws {
    do throws(HeapError) {
      _ = try DMABufCloses()
      #expect(Self.hasTypes)
    } catch {
      #expect(error.operation == "hear the last close of dma-bufs by BPF")
      if Self.hasTypes {
        // Root may be refused, too.
        #expect(error.errno == .notPermitted, "\(error)")
        #expect(error.path == "bpf(2)")
        #expect(error.fix == "run as root, or with CAP_BPF and CAP_PERFMON")
      } else {
        #expect(error.path == "/sys/kernel/btf/vmlinux")
        #expect(error.errno == .noSuchFileOrDirectory)
        #expect(error.fix == "a kernel with CONFIG_DEBUG_INFO_BTF")
      }
    }
  }

  @Test func `it leaves nothing open`() throws {
    _ = try? DMABufCloses()
    let before = try ProcessFiles.list(of: getpid())
    for _ in 0..<3 {
      try? DMABufCloses().attach()
    }
    #expect(try ProcessFiles.opened(by: getpid(), since: before) == [])
  }

  @Test func `every question of the program skips to its end`() throws {
    let layout = CloseLayout.sample
    #expect(layout.functions == [11, 12])
    let program = CloseProgram(layout, table: 5, ring: 6).instructions
    #expect(program.suffix(2) == [.set(.r0, 0), .exit])
    let end = program.count - 2
    func skips(_ place: Int, _ skip: (Int16) -> BPFInstruction) -> Bool {
      program[place] == skip(Int16(end - place - 1))
    }
    #expect(skips(4) { .skip(if: .r1, isNot: 0x444d_4142, over: $0) })
    #expect(program.indices.contains { skips($0) { .skipIfZero(.r9, over: $0) } })
    #expect(program.indices.contains { skips($0) { .skip(if: .r1, isAbove: .r9, over: $0) } })
    #expect(program.indices.contains { skips($0) { .skipIfZero(.r0, over: $0) } })
    #expect(program.filter { $0 == .call(.ringBufferOutput) }.count == 2)
    // `BPF_STX | BPF_ATOMIC | BPF_DW` with `BPF_ADD | BPF_FETCH`, which alone is ordered: the count of lost events is raised before
    // the ring buffer is tried again.
    #expect(program.contains { $0.bytes == [0xdb, 0x18, 0, 0, 1, 0, 0, 0] })
    // As linux/bpf.h has them: an immediate in two instructions.
    #expect(
      BPFInstruction.mapValue(.r8, 5).flatMap(\.bytes) == [0x18, 0x28, 0, 0, 5, 0, 0, 0]
        + [UInt8](repeating: 0, count: 8))
  }
}

/// In stock-next: Tests/Kernel/iterator.sh.
@Suite(.serialized, .enabled(if: HeardBuffer.isPossible, "needs BTF, the system heap, and root"))
struct HeardCloseTests {
  /// All ways to let go of a buffer.
  enum LastClose: CaseIterable {
    case close, dup2, munmap, exit, exitOfMapping, exec, droppedMessage, registeredFile
    case deviceImport, videoQueue
  }

  @Test(arguments: LastClose.allCases)
  func `each kind of last close is heard`(_ way: LastClose) throws {
    let closes = try DMABufCloses()
    try closes.attach()
    let buffer = try HeardBuffer(byteCount: 2 << 20)
    closes.watch(buffer.inode)
    let number = buffer.fd.rawValue
    try way.perform(on: number) {
      let isHeld = try eventually { try FDInfo.read(number)?.count ?? 0 >= 2 }
      #expect(isHeld)
      // Of what was let go of on the way.
      _ = closes.read()
      #expect(closes.read() == [])
    }
    #expect(closes.heard() == [buffer.inode])
    // It has happened by then.
    #expect(try buffer.count == 1)
    closes.unwatch(buffer.inode)
  }

  @Test func `other buffers are not heard, nor more references than were asked about`() throws {
    let closes = try DMABufCloses()
    try closes.attach()
    let buffer = try HeardBuffer()
    let other = try HeardBuffer()
    closes.watch(buffer.inode)
    for _ in 0..<100 { _ = try other.fd.duplicate() }
    do {
      let child = try buffer.fd.duplicate()
      for _ in 0..<100 { _ = try buffer.fd.duplicate() }
      #expect(closes.heard(within: 100) == [])
      closes.watch(buffer.inode, downTo: 2)
      _ = try buffer.fd.duplicate()
      #expect(closes.heard() == [buffer.inode])
      _ = consume child
    }
    #expect(closes.read() == [buffer.inode])
    closes.unwatch(buffer.inode)
    closes.unwatch(buffer.inode)
    _ = try buffer.fd.duplicate()
    #expect(closes.heard(within: 100) == [])
  }

  @Test func `a buffer is heard while another of its slot comes and goes`() throws {
    let closes = try DMABufCloses()
    try closes.attach()
    let buffer = try HeardBuffer()
    closes.watch(buffer.inode)
    closes.watch(buffer.inode + UInt64(WatchTable.slots))
    closes.unwatch(buffer.inode + UInt64(WatchTable.slots))
    _ = try buffer.fd.duplicate()
    #expect(closes.heard() == [buffer.inode])
    // More than are counted: it stays.
    for _ in 0..<300 { closes.watch(buffer.inode) }
    for _ in 0..<300 { closes.unwatch(buffer.inode) }
    _ = try buffer.fd.duplicate()
    #expect(closes.read() == [buffer.inode])
  }

  @Test func `lost events are told, once, and the next are heard`() throws {
    let page = sysconf(CInt(_SC_PAGESIZE))
    let closes = try DMABufCloses(ringBytes: page)
    try closes.attach()
    let buffer = try HeardBuffer()
    closes.watch(buffer.inode)
    let before = try closes.missed()
    for _ in 0..<page / 16 { _ = try buffer.fd.duplicate() }
    #expect(try closes.missed() > before)
    // One less has room: a full ring would look like an empty one.
    #expect(closes.heard() == nil)
    #expect(closes.read() == [])
    for round in 1...page {
      _ = try buffer.fd.duplicate()
      if round % 7 == 0 {
        #expect(closes.heard() == [buffer.inode])
      }
    }
  }

  @Test func `detached it hears nothing, and the kernel's functions are as before`() throws {
    // Which functions programs are attached to.
    func attached() throws -> [Substring] {
      try SmallFile.readAll("/sys/kernel/tracing/enabled_functions").split(separator: "\n")
        .filter { $0.contains("fput") }
    }
    let before = try attached()
    let closes = try DMABufCloses()
    let buffer = try HeardBuffer()
    #expect(try attached() == before)
    closes.watch(buffer.inode)
    try closes.attach()
    let during = try attached()
    #expect(during.count > before.count)
    closes.detach()
    #expect(try attached() == before)
    _ = try buffer.fd.duplicate()
    #expect(closes.heard(within: 100) == [])
    try closes.attach()
    _ = try buffer.fd.duplicate()
    #expect(closes.heard() == [buffer.inode])
  }

  @Test func `two capabilities load it, and all else takes none`() async {
    await #expect(processExitsWith: .success) {
      let buffer = try HeardBuffer()
      let needed = UInt64(1) << CCloseTests_CAP_BPF | 1 << CCloseTests_CAP_PERFMON
      #expect(CCloseTests_keep_capabilities(needed) == 0)
      let closes = try DMABufCloses()
      #expect(CCloseTests_keep_capabilities(0) == 0)
      #expect(throws: HeapError.self) { _ = try DMABufCloses() }
      for _ in 0..<2 {
        closes.watch(buffer.inode)
        try closes.attach()
        _ = try buffer.fd.duplicate()
        #expect(closes.heard() == [buffer.inode])
        closes.unwatch(buffer.inode)
        closes.detach()
      }
      _ = try closes.missed()
    }
  }

  /// Prints what ``DMABufCloses`` says of its costs.
  @Test(.enabled(if: unsafe getenv("LINUXHEAPS_MEASURE") != nil, "measures, on request"))
  func `what it costs`() throws {
    let closes = try DMABufCloses()
    let buffer = try HeardBuffer()
    let number = buffer.fd.rawValue
    let zero = try OwnedFD.open("/dev/zero", O_RDONLY)
    closes.watch(buffer.inode)
    var times: [String: [UInt64]] = [:]
    func time(_ name: String, _ body: () throws -> Void) rethrows {
      let start = MonotonicTime.now
      try body()
      times[name, default: []].append((MonotonicTime.now.nanoseconds - start.nanoseconds) / 1000)
    }
    for _ in 0..<20 {
      for name in ["without", "with"] {
        if name == "with" { try time("attach, us") { try closes.attach() } }
        for _ in 0..<20 {
          times["close(2) \(name), ns", default: []]
            .append(CCloseTests_time_closes(zero.rawValue, 500) / 500)
          times["pread(2) beside another thread \(name), ns", default: []]
            .append(CCloseTests_time_reads(zero.rawValue, 500) / 500)
        }
        if name == "with" { time("detach, us") { closes.detach() } }
      }
    }

    try closes.attach()
    let pair = try MessageSocket.Pair()
    let shared = unsafe mmap(
      nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)!
    let closed = unsafe shared.assumingMemoryBound(to: UInt64.self)
    let closer = pair.far.withDescriptor { unsafe CCloseTests_fork_closer($0, closed) }
    let near = pair.keepingNear()
    // What it inherited is closed.
    #expect(try eventually { try FDInfo.read(number)?.count == 1 })
    _ = closes.read()
    for _ in 0..<100 {
      try near.send([0], descriptors: [number])
      let inodes = closes.heard()
      let before = unsafe closed.pointee
      times["a peer's close to its event, us", default: []]
        .append((MonotonicTime.now.nanoseconds - before) / 1000)
      #expect(inodes == [buffer.inode])
    }
    _ = consume near
    waitpid(closer, nil, 0)
    unsafe munmap(shared, 4096)
    for (name, values) in times.sorted(by: { $0.key < $1.key }) {
      let sorted = values.sorted()
      print(name, "p50:", sorted[sorted.count / 2], "p99:", sorted[sorted.count * 99 / 100])
    }

    // Processes that do nothing but close, so that they are preempted in the program at times.
    let children = (0..<4).map { _ in CCloseTests_fork_churn(zero.rawValue) }
    #expect(try eventually { try FDInfo.read(number)?.count == 1 })
    _ = closes.read()
    var unheard = 0
    for _ in 0..<1000 {
      usleep(1000)
      _ = try buffer.fd.duplicate()
      if closes.read() == [] { unheard += 1 }
    }
    for child in children {
      kill(child, SIGKILL)
      waitpid(child, nil, 0)
    }
    print("of 1000 last closes beside 4 processes that do nothing but close, not heard:", unheard)
    #expect(try unheard == 0 || closes.missed() > 0)
  }
}

extension HeardCloseTests.LastClose {
  /// Has something besides this descriptor hold the buffer, says so, and lets go of it.
  func perform(on fd: CInt, _ isHeld: () throws -> Void) throws {
    let size = 4096
    func mapped() throws -> UnsafeMutableRawPointer {
      let address = unsafe mmap(nil, size, PROT_READ, MAP_SHARED, fd, 0)
      guard let address = unsafe address, unsafe address != MAP_FAILED else {
        throw Errno(rawValue: errno)
      }
      return unsafe address
    }
    func duplicate() throws -> OwnedFD {
      OwnedFD(adopting: try call { fcntl(fd, F_DUPFD_CLOEXEC, 0) })
    }
    switch self {
    case .close:
      let child = try duplicate()
      try isHeld()
      _ = consume child
    case .dup2:
      let child = try duplicate()
      let null = try OwnedFD.open("/dev/null", O_RDONLY)
      try isHeld()
      #expect(Glibc.dup2(null.rawValue, child.rawValue) == child.rawValue)
    case .munmap:
      let address = unsafe try mapped()
      try isHeld()
      unsafe Glibc.munmap(address, size)
    case .exit, .exec:
      let order = try MessageSocket.Pair()
      let child = order.far.withDescriptor { CCloseTests_fork_holder(-1, $0) }
      try isHeld()
      if self == .exec { try order.near.send([0]) } else { kill(child, SIGKILL) }
      waitpid(child, nil, 0)
    case .exitOfMapping:
      let order = try MessageSocket.Pair()
      let address = unsafe try mapped()
      let child = order.far.withDescriptor { CCloseTests_fork_holder(fd, $0) }
      unsafe Glibc.munmap(address, size)
      // The child's own descriptor is closed then.
      #expect(try eventually { try FDInfo.read(fd)?.count == 2 })
      try isHeld()
      kill(child, SIGKILL)
      waitpid(child, nil, 0)
    case .droppedMessage:
      let pair = try MessageSocket.Pair()
      try pair.near.send([0], descriptors: [fd])
      try isHeld()
    case .registeredFile:
      let ring = OwnedFD(adopting: try call { CCloseTests_register_file(fd) })
      try isHeld()
      _ = consume ring
    case .deviceImport:
      let node = try #require(DRMNode.all().first { $0.driver == "vgem" && $0.kind == .primary })
      let device = try DRMDevice(path: node.path.string)
      let handle = try device.importBuffer(try VMO(adopting: try duplicate()))
      try isHeld()
      _ = consume handle
    case .videoQueue:
      // It takes any memory (Tests/Kernel/boot.sh).
      let found = VideoDevice.all().first { $0.kind == .capture && $0.bus == "platform:vivid-001" }
      let camera = try CaptureDevice(try #require(found).path)
      _ = try camera.setFormat(width: 640, height: 480, .xr24)
      var queue = try camera.makeQueue(capacity: 1)
      try queue.enqueue(try VMO(adopting: try duplicate()))
      try queue.start()
      _ = try queue.dequeue(for: .seconds(60)).takeVMO()
      // Attached still, until the queue's buffers are given up (`VIDIOC_REQBUFS`).
      try isHeld()
      _ = consume queue
    }
  }
}

/// A dma-buf that nobody else looks at.
struct HeardBuffer: ~Copyable {
  static let isPossible =
    unsafe access(BPF.typesPath, R_OK) == 0 && access("/dev/dma_heap/system", R_OK) == 0
    && geteuid() == 0

  let fd: OwnedFD
  let inode: UInt64

  init(byteCount: UInt64 = 4096) throws(Errno) {
    let heap = try OwnedFD.open("/dev/dma_heap/system", O_RDONLY)
    var request = dma_heap_allocation_data()
    request.len = byteCount
    request.fd_flags = UInt32(O_RDWR | O_CLOEXEC)
    _ = try call { unsafe CLinuxHeaps_dma_heap_alloc(heap.rawValue, &request) }
    let fd = OwnedFD(adopting: CInt(request.fd))
    let inode = UInt64(try fd.status().st_ino)
    self.fd = fd
    self.inode = inode
  }

  var count: Int { get throws { try #require(try FDInfo.read(fd.rawValue)).count } }
}

extension DMABufCloses {
  /// What it tells as soon as the descriptor is readable; none where that takes so many milliseconds.
  fileprivate func heard(within milliseconds: CInt = 60_000) -> [UInt64]? {
    var asked = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&asked, 1, milliseconds) == 1 ? read() : []
  }
}

extension CloseLayout {
  fileprivate static var sample: CloseLayout {
    var sample = BTFTests.Sample()
    sample.add(1, named: "long", 8, 64)
    sample.add(4, named: "super_block", count: 1, 64, sample.name("s_magic"), 1, 320)
    sample.add(2, 2)
    sample.add(
      4, named: "inode", count: 2, 64, sample.name("i_sb"), 3, 0, sample.name("i_ino"), 1, 64)
    sample.add(2, 4)
    sample.add(4, count: 1, 8, sample.name("counter"), 1, 0)
    sample.add(4, named: "file_ref", count: 1, 8, sample.name("refcnt"), 6, 0)
    sample.add(
      4, named: "file", count: 2, 64, sample.name("f_inode"), 5, 256, sample.name("f_ref"), 7, 0)
    sample.add(2, 8)
    sample.add(13, count: 1, 0, 0, 9)
    sample.add(12, named: "fput", 10)
    sample.add(12, named: "__fput_sync", 10)
    // swift-format-ignore: NeverUseForceTry
    return try! CloseLayout(BTF(sample.bytes))
  }
}
