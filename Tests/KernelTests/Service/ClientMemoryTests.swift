import CLinuxHeaps
import Foundation
import Glibc
import HeapClient
import HeapTestKit
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

/// Buffers of memory that clients bring: whom the kernel charges, and what clients can do meanwhile.
@Suite(.serialized, .enabled(if: UDMABufHeap.isUsable, "needs /dev/udmabuf"))
struct ClientMemoryTests {
  /// udmabuf of 6.12 takes 64 MiB.
  private static let size = 32 * mebibyte
  /// What else groups are charged for changes.
  private static let slack = 8 * mebibyte
  /// Charged before they are used, on each processor (`MEMCG_CHARGE_BATCH`): a group that has any is charged for less of what follows.
  private static let batch = 64 * pageSize * UInt64(sysconf(CInt(_SC_NPROCESSORS_CONF)))

  @Test(.enabled(if: ChargedGroup.canBeMade, "needs root in the root group of version 2"))
  func `the client is charged, and its limit holds`() async {
    await #expect(processExitsWith: .success) {
      let service = try ChargedGroup("service")
      let client = try ChargedGroup("client", limit: 128 * mebibyte)
      let (size, slack) = (ClientMemoryTests.size, ClientMemoryTests.slack)
      let charged = size - ClientMemoryTests.batch..<size + slack
      do {
        let daemon = try Daemon(through: service.start)
        // What a first buffer takes for good.
        let heap = try RemoteHeap(socket: daemon.socket, charging: .client)
        close(try heap.allocate(byteCount: pageSize))
        try client.enter()
        let (ofService, ofClient) = (service.memory, client.memory)
        let key = BufferKey.fresh()
        let vmo = try heap.allocate(key, size: size)
        print("client: \(ofClient) -> \(client.memory), service: \(ofService) -> \(service.memory)")
        #expect(charged.contains(client.memory.less(ofClient)))
        #expect(service.memory < ofService + slack)
        #expect(try ClientMemoryTests.isZero(vmo))
        try vmo.poke(7, at: Int(size) - 1)
        let status = try ServerStatus(of: heap)
        let buffer = try #require(status.buffers.first { $0.collection == key.bufferCollectionID })
        #expect(buffer.heap == "client" && buffer.bytes == size)
        #expect(status.quota.buffers == 1 && status.quota.bytes == 0)
        // More than the group has left: said, and nobody is ended.
        let error = refusal { () throws(HeapError) in try heap.allocate(byteCount: 4 * size) }
        #expect(error?.code == .noMemory)
        try await heap.deleteVmo(
          bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, vmo: vmo)
        #expect(try await eventuallyHolds { client.memory < ofClient + slack })
        #expect(service.memory < ofService + slack)
        #expect(daemon.stop() == 0)
      }
      try client.leave()
      try service.leave()
    }
  }

  /// Nothing of what it reads stays.
  private static func isZero(_ vmo: borrowing VMO) throws -> Bool {
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    for start in stride(from: 0, to: Int(vmo.byteCount), by: zeros.count) {
      let bytes = try vmo.copyBytes(start..<start + zeros.count)
      if unsafe memcmp(bytes, zeros, zeros.count) != 0 { return false }
    }
    return true
  }

  /// A client in Python, by the page for authors of clients: it brings memory, hands the buffer on, and waits.
  private static let client = """
    import fcntl, os, socket, struct, sys, time
    path, other, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    heap = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    heap.connect(path)
    heap.recv(65536)
    memory = os.memfd_create("brought", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, size)
    for offset in range(0, size, 1 << 20):
        os.pwrite(memory, b"c" * (1 << 20), offset)
    fcntl.fcntl(memory, 1033, 1 | 2 | 4)
    message = struct.pack("<I2sBBQ", 1, b"\\2\\0", 0x80, 1, 0x63bdefe72dca7eb0)
    message += struct.pack("<QQQQQQIHHQQQ", 5, 2**64 - 1, 8, 0, 8, 8, 2**32 - 1, 1, 1, size, 0xc11e, 1)
    socket.send_fds(heap, [message], [memory])
    os.close(memory)
    reply, fds, _, _ = socket.recv_fds(heap, 65536, 4)
    assert struct.unpack_from("<Q", reply, 16)[0] == 1, reply
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    holder.connect(other)
    socket.send_fds(holder, [b"x"], fds)
    time.sleep(1000000)
    """

  @Test(.enabled(if: ChargedGroup.canBeMade, "needs root in the root group of version 2"))
  func `its death changes nothing while others hold the buffer`() throws {
    let (service, client) = (try ChargedGroup("service"), try ChargedGroup("client"))
    var left: UInt64 = 0
    do {
      let daemon = try Daemon(through: service.start)
      let observer = try WireClient.observer(daemon)
      let path = daemon.folder + "/holder"
      let listener = try MessageListener(at: path)
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/bin/sh")
      process.arguments =
        Array(client.start.dropFirst())
        + ["/usr/bin/python3", "-c", Self.client, daemon.socket, path, "\(Self.size)"]
      process.standardInput = FileHandle.nullDevice
      try process.run()
      var handles: [SharedFD] = []
      do {
        let socket = try listener.accept()
        if let message = try socket.receive() { handles = Received(message).handles }
      }
      try #require(handles.count == 1)
      #expect(
        try observer.info(handles[0]) == BufferKey(bufferCollectionID: 0xc11e, bufferIndex: 1))
      let alive = client.memory
      #expect(alive >= Self.size)
      process.kill()
      // Of the process itself less is left, and of the buffer all.
      usleep(100_000)
      left = client.memory
      print("client: \(alive) -> \(left), service: \(service.memory)")
      #expect(left >= Self.size)
      #expect(service.memory < Self.size)
      #expect(try handles[0].read(3) == Array("ccc".utf8))
      #expect(try observer.status().quota.buffers == 1)
      handles = []
      #expect(try eventually { try observer.status().quota.buffers == 0 })
    }
    // The rest is the files that it read.
    #expect(eventually { client.memory + Self.size < left + Self.slack })
    print("client at the end: \(client.memory)")
    try client.leave()
    try service.leave()
  }

  @Test func `who keeps the memfd can take its pages out of that, and not out of the buffer`()
    throws
  {
    let daemon = try Daemon()
    let client = try WireClient.heap(daemon)
    let memory = try ClientMemory.make(size: Self.size)
    var buffer: SharedFD? = try client.allocate(from: memory, size: Self.size)
    try buffer?.write([1, 2, 3])
    #expect(try memory.read(3) == [1, 2, 3])
    // Neither seals nor sizes can be changed.
    #expect(throws: Errno.notPermitted) {
      _ = try call { CLinuxHeaps_add_seals(memory.fd.rawValue, CLinuxHeaps_F_SEAL_WRITE) }
    }
    #expect(throws: Errno.notPermitted) { _ = try call { ftruncate(memory.fd.rawValue, 0) } }
    try ClientMemory.punch(memory.fd.rawValue, Self.size)
    #expect(try ClientMemory.present(memory) == 0)
    #expect(try buffer?.read(3) == [1, 2, 3])
    #expect(try memory.read(3) == [0, 0, 0])
    // The second of one memfd is of other pages.
    #expect(throws: Refusal(code: .badState)) {
      try client.allocate(from: memory, 1, size: Self.size)
    }
    try client.delete(0, &buffer)
    #expect(try client.refusal(0) == nil)
  }

  /// What a thread of the client's does to its memory all the time.
  enum Change: CaseIterable {
    /// Neither its size nor any hole shows it.
    case writes
    case refillsHoles
    case punchesAll

    func make(_ file: CInt, _ size: UInt64, _ page: [UInt8]) {
      if self != .writes { try? ClientMemory.punch(file, self == .punchesAll ? size : pageSize) }
      if self != .punchesAll { _ = unsafe pwrite(file, page, page.count, 0) }
    }
  }

  @Test(
    .enabled(if: ChargedGroup.canBeMade, "needs root in the root group of version 2"),
    arguments: Change.allCases)
  func `memory that changes meanwhile is refused, and nothing stays on the service's group`(
    _ change: Change
  ) throws {
    let service = try ChargedGroup("service")
    let size = 8 * mebibyte
    do {
      let daemon = try Daemon(through: service.start)
      let (client, observer) = (try WireClient.heap(daemon), try WireClient.observer(daemon))
      _ = try client.allocate(from: ClientMemory.make(), 1)
      let before = service.memory
      var kept: [SharedFD] = []
      var refused = 0
      // Where the thread did not run meanwhile, nothing changed.
      for round in 0..<200 where refused == 0 || round < 8 {
        let memory = try ClientMemory.make(size: size)
        do {
          try Self.whileChanging(memory, size, change) {
            _ = try client.allocate(from: memory, 2, size: size)
          }
          let isGone = try eventually { try observer.status().quota.buffers == 0 }
          #expect(isGone)
        } catch let refusal as Refusal {
          #expect(refusal.code == .badState)
          refused += 1
          // No page stays that may be charged to the service.
          if change == .writes { #expect(try ClientMemory.present(memory) <= pageSize) }
          kept.append(memory)
        }
      }
      print("\(change): \(refused) refused, service: \(before) -> \(service.memory)")
      #expect(refused > 0)
      #expect(service.memory < before + 4 * mebibyte)
      if change == .writes { try daemon.expectLog("allocation failed", "changed meanwhile") }
      withExtendedLifetime(kept) {}
    }
    try service.leave()
  }

  private static func whileChanging(
    _ memory: SharedFD, _ size: UInt64, _ change: Change, _ body: () throws -> Void
  ) throws {
    let isOver = Guarded(false)
    let end = DispatchSemaphore(value: 0)
    try KernelThread.start("changer") {
      let page = [UInt8](repeating: 0, count: Int(pageSize))
      while !isOver.withLock({ $0 }) { change.make(memory.fd.rawValue, size, page) }
      end.signal()
    }
    defer {
      isOver.withLock { $0 = true }
      end.wait()
    }
    try body()
  }

  @Test(arguments: [MemfdHeap.name])
  func `a server after this one knows whom the memory is charged to`(_ name: String) async throws {
    let manager = try StandInManager(heap: name)
    try manager.start()
    var heap = try RemoteHeap(socket: manager.socket, charging: .client)
    let key = BufferKey.fresh()
    let vmo = try heap.allocate(key, size: mebibyte)
    #expect(try ServerStatus(of: heap).quota.bytes == 0)
    manager.kill()
    try manager.start()
    heap = try manager.connect()
    let status = try ServerStatus(of: heap)
    #expect(status.quota.bytes == 0 && status.quota.buffers == 1)
    #expect(status.buffers.map(\.heap) == ["client"] && status.buffers.map(\.bytes) == [mebibyte])
    try await heap.deleteVmo(
      bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, vmo: vmo)
    #expect(eventually { manager.store.entries.isEmpty })
  }

  // Bytes that nobody counts are none's to keep half of.
  @Test func `quotas count the number of such buffers alone`() throws {
    let daemon = try Daemon(configuration: "connection-bytes = 64K\nconnection-buffers = 2\n")
    let client = try WireClient.heap(daemon)
    let buffers = try (0..<2 as Range<UInt64>).map { index in
      try client.allocate(from: ClientMemory.make(size: mebibyte), index, size: mebibyte)
    }
    #expect(throws: Refusal(code: .noResources)) {
      try client.allocate(from: ClientMemory.make(), 2)
    }
    withExtendedLifetime(buffers) {}
  }

  /// The figures are printed: times are those of an emulated processor, and the ratio alone says something.
  @Test func `what bringing memory takes, beside a service's own udmabuf`() throws {
    let daemon = try Daemon(heap: [UDMABufHeap.name])
    for size in [64 << 10, 8 * mebibyte] {
      var medians: [Duration] = []
      for charging in [RemoteHeap.Charging.service, .client] {
        let heap = try RemoteHeap(socket: daemon.socket, charging: charging)
        let times = try (0..<21).map { _ in
          let key = BufferKey.fresh()
          let begin = ContinuousClock.now
          let vmo = try heap.allocate(key, size: size)
          let time = ContinuousClock.now - begin
          try heap.deleteVmo(
            bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, vmo: vmo)
          return time
        }
        medians.append(times.sorted()[10])
      }
      print("\(size.asByteCount): service's \(medians[0]), client's \(medians[1])")
      #expect(!daemon.log.contains("error"), "\(daemon.log)")
    }
  }

  /// So a service has to look at the descriptor.
  @Test func `udmabuf itself makes memory writable that its holder may only read`() throws {
    let memory = try ClientMemory.make()
    let readOnly = try OwnedFD.open("/proc/self/fd/\(memory.fd.rawValue)", O_RDONLY)
    let device = try OwnedFD.open(UDMABufHeap.path, O_RDONLY)
    let buffer = SharedFD(
      OwnedFD(
        adopting: try call {
          CLinuxHeaps_udmabuf_create(device.rawValue, readOnly.rawValue, 0, pageSize)
        }))
    try buffer.write([9])
    #expect(try memory.read(1) == [9])
  }

  @Test func `the kernel's heaps do not take whom to charge`() throws {
    for name in TestHeaps.dmaBufs where name != UDMABufHeap.name {
      let device = try OwnedFD.open("\(HeapCatalog.directory)/\(name)", O_RDONLY)
      // A kernel that does is to be used: the proposal's final form is not known.
      #expect(CLinuxHeaps_dma_heap_knows_charge(device.rawValue) == 0, "\(name)")
    }
    #expect(CLinuxHeaps_dma_heap_knows_charge(STDIN_FILENO) == -1)
  }
}
