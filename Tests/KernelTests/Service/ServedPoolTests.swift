import Glibc
import HeapClient
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

private let names = [HeapRole.system, .contiguous].compactMap { role in
  HeapCatalog().heaps().first { $0.role == role && $0.isUsable }?.name
}

private let hasPSI = unsafe access("/proc/pressure/memory", F_OK) == 0

/// heapd with a pool, on the heaps of a real kernel.
@Suite(.serialized, .enabled(if: !names.isEmpty, "needs /dev/dma_heap"))
struct ServedPoolTests {
  private static func settings(_ heap: String) -> SingleBufferSettings {
    heap == "system" ? SingleBufferSettings() : .contiguous
  }

  private func allocate(_ heap: RemoteHeap, _ name: String, _ index: UInt64) throws -> VMO {
    try heap.allocateVmo(
      size: 1 << 20, settings: Self.settings(name), bufferCollectionID: 5, bufferIndex: index)
  }

  @Test(arguments: names)
  func `a client has a buffer of its own again, zeroed`(_ name: String) async throws {
    let daemon = try Daemon(
      heap: [name], configuration: "pool-bytes = 16M\npool-learns = off\npool-idle-seconds = 600\n")
    let heap = try RemoteHeap(socket: daemon.socket)
    let isTold = try ProcessFiles.list(of: daemon.identifier).contains("/proc/pressure/memory")
    #expect(isTold == hasPSI)
    let first = try allocate(heap, name, 0)
    let identity = first.identity
    // Other than a handle it keeps nobody from having the memory again.
    let path = try first.withDescriptor { number in
      try OddFile.open("/proc/self/fd/\(number)", OddFile.pathOnly)
    }
    try first.withMutableBytes { bytes in
      for index in bytes.indices { bytes[index] = 0x5a }
    }
    try await heap.deleteVmo(bufferCollectionID: 5, bufferIndex: 0, vmo: first)
    #expect(try eventually { try ServerStatus(of: heap).pool?.ready == 1 })
    let second = try allocate(heap, name, 1)
    #expect(second.identity == identity)
    let key = try await heap.info(of: second)
    #expect(key == BufferKey(bufferCollectionID: 5, bufferIndex: 1))
    #expect(try WireClient.observer(daemon).info(path) == nil)
    // It shows the name of what lies there, of this user's own (dmabuffs_dname, drivers/dma-buf/dma-buf.c).
    let link = try SmallFile.link("/proc/self/fd/\(path.fd.rawValue)")
    #expect(link == "/dmabuf:\(key)")
    let isZero = try second.withBytes { bytes in bytes.indices.allSatisfy { bytes[$0] == 0 } }
    #expect(isZero)
    let status = try ServerStatus(of: heap)
    #expect(status.pool?.hits == 1)
    #expect(status.buffers.map(\.index) == [1])
    #expect(status.quota.bytes >= 1 << 20)
    let shown = try Run.heapctl(["info", "--socket", daemon.socket]).output
    #expect(shown.contains("\n  pool: ready 0, "), "\(shown)")
    #expect(shown.contains(" requests served 1, "), "\(shown)")
    try await heap.deleteVmo(bufferCollectionID: 5, bufferIndex: 1, vmo: second)
    #expect(daemon.stop() == 0)
  }

  @Test(arguments: names)
  func `what one client fills another user never sees`(_ name: String) async throws {
    let daemon = try Daemon(
      heap: [name],
      configuration: "pool-bytes = 16M\npool-learns = off\npool-idle-seconds = 600\n",
      arguments: ["--mode", "0666"], openFolder: true)
    let heap = try RemoteHeap(socket: daemon.socket)
    let first = try allocate(heap, name, 0)
    let inode = first.identity.inode
    try await heap.deleteVmo(bufferCollectionID: 5, bufferIndex: 0, vmo: first)
    #expect(try eventually { try ServerStatus(of: heap).pool?.ready == 1 })
    let contiguous = name == "system" ? [] : ["--contiguous"]
    let run = try Run.heapctl(
      ["alloc", "--socket", daemon.socket, "--size", "1M", "--json"] + contiguous,
      through: ["/usr/bin/setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"])
    #expect(run.status == 0, "\(run.error)")
    let buffer = try #require(try run.json["buffer"] as? [String: Any])
    #expect(try #require(buffer["inode"] as? UInt64) != inode)
    #expect(try ServerStatus(of: heap).pool?.hits == 0)
    #expect(daemon.stop() == 0)
  }

  /// Of the last: contiguous memory, where there is a heap of it.
  @Test(arguments: names.suffix(1))
  func `a heap with a pool passes the checks behind the service`(_ name: String) async throws {
    let daemon = try Daemon(
      heap: [name], configuration: "pool-bytes = 16M\npool-idle-seconds = 1\n")
    let heap = try await HeapUnderTest.service(Self.settings(name), socket: daemon.socket)
    for check in HeapCheck.all(for: heap) {
      if case .failed(let reason) = await check.run(on: heap) {
        Issue.record("\(check): \(reason)")
      }
    }
    let pool = try ServerStatus(of: try RemoteHeap(socket: daemon.socket)).pool
    #expect(try #require(pool).hits > 0)
    #expect(daemon.stop() == 0)
    #expect(!daemon.log.contains("error"), "\(daemon.log)")
  }

  @Test(arguments: names)
  func `random work with random ends, through the service`(_ name: String) async throws {
    let daemon = try Daemon(
      heap: [name], configuration: "pool-bytes = 16M\npool-ready = 2 x 16K\n")
    let heap = try RemoteHeap(socket: daemon.socket)
    let run = try await StressRun(
      heap: heap, name: name, settings: Self.settings(name), seed: 11)
    let report = try await run.run(until: .steps(200))
    #expect(report.failure == nil)
    #expect(report.leaks == [])
    #expect(try #require(try ServerStatus(of: heap).pool).hits > 0)
    #expect(daemon.stop() == 0)
  }

  @Test(.enabled(if: TestUser.isRoot && hasPSI, "needs root and PSI"))
  func `without PSI it works all the same, and the log says so`() async throws {
    let hide = "mount -t tmpfs none /proc/pressure && exec \"$@\""
    let daemon = try Daemon(
      heap: [names[0]],
      configuration: "pool-bytes = 16M\npool-learns = off\npool-idle-seconds = 600\n",
      through: ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", hide, "sh"])
    try daemon.expectLog("the kernel does not tell of memory pressure")
    let heap = try RemoteHeap(socket: daemon.socket)
    for index: UInt64 in 0..<2 {
      let vmo = try allocate(heap, names[0], index)
      try await heap.deleteVmo(bufferCollectionID: 5, bufferIndex: index, vmo: vmo)
      #expect(try eventually { try ServerStatus(of: heap).pool?.ready == 1 })
    }
    #expect(try ServerStatus(of: heap).pool?.hits == 1)
    #expect(daemon.stop() == 0)
  }

  @Test(arguments: names)
  func `with few files it serves all the same`(_ name: String) throws {
    let daemon = try Daemon(
      heap: [name], configuration: "pool-bytes = 1M\n",
      through: ["/bin/sh", "-c", "ulimit -n 512; exec \"$@\"", "sh"])
    let heap = try RemoteHeap(socket: daemon.socket)
    var vmos: [SharedVMO] = []
    for index: UInt64 in 0..<10 { vmos.append(SharedVMO(try allocate(heap, name, index))) }
    #expect(daemon.stop() == 0)
  }

  @Test(
    .enabled(if: HugeHeap.isUsable, "needs udmabuf and huge pages"),
    arguments: [
      [HugeHeap.name], [HugeHeap.name, UDMABufHeap.name],
    ])
  func `a pool of what is not kept is refused`(_ heaps: [String]) throws {
    let folder = try TemporaryFolder()
    let configuration = try folder.file("heapd.conf", "pool-bytes = 1M\n")
    let words = ["--socket", folder.path + "/heap.sock", "--config", configuration]
    let run = try Run.program(
      "/usr/bin/timeout",
      ["20", try Program.path("heapd")] + words + heaps.flatMap { ["--heap", $0] })
    #expect(run.status == 69)
    #expect(run.error.contains("keep a pool of 1 MiB"), "\(run.error)")
    #expect(run.error.contains("heap hugetlb is none of the kernel's"), "\(run.error)")
  }

  /// A hundred that lay there at once leave a hundred.
  @Test func `a while after the last buffer, the pool has no fdinfo file open`() throws {
    let daemon = try Daemon(
      heap: [names[0]], configuration: "pool-bytes = 16M\npool-idle-seconds = 10\n")
    let heap = try RemoteHeap(socket: daemon.socket)
    let folder = "/proc/\(daemon.identifier)/fd"
    func openFiles() throws -> Int {
      try SmallFile.entries(of: folder).count {
        (try? SmallFile.link("\(folder)/\($0)"))?.contains("/fdinfo/") == true
      }
    }
    do {
      var vmos: [SharedVMO] = []
      for index: UInt64 in 0..<20 { vmos.append(SharedVMO(try allocate(heap, names[0], index))) }
    }
    #expect(try eventually { try ServerStatus(of: heap).pool?.ready ?? 0 >= 16 })
    #expect(try openFiles() > 0)
    #expect(try eventually { try ServerStatus(of: heap).pool?.bytes == 0 })
    #expect(try eventually { try openFiles() == 0 })
    close(try allocate(heap, names[0], 20))
  }
}
