import Glibc
import HeapClient
import HeapTestKit
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

/// Descriptors of the manager that are not what their names say.
@Suite(.serialized) struct OddDescriptorTests {
  private static let collection: UInt64 = 0xbee0_0000_0000_0004
  private static let key = BufferKey(bufferCollectionID: collection, bufferIndex: 1)

  /// As heapd names what it has the manager keep.
  private static func name(_ index: UInt64, user: String = "0", heap: String = "memfd") -> String {
    "b \(String(collection, radix: 36)).\(String(index, radix: 36)) \(user) \(heap)"
  }

  private static func allocate(
    _ heap: RemoteHeap, _ subject: HeapUnderTest, index: UInt64
  ) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: pageSize, settings: subject.settings, bufferCollectionID: collection,
      bufferIndex: index)
  }

  /// One end; the other is closed.
  private static func pipe() throws -> OwnedFD {
    var ends: [CInt] = [-1, -1]
    _ = try call { unsafe Glibc.pipe(&ends) }
    close(ends[1])
    _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
    return OwnedFD(adopting: ends[0])
  }

  private static func expectServing(_ manager: StandInManager, _ subject: HeapUnderTest)
    async throws
  {
    let heap = try manager.connect()
    let vmo = try allocate(heap, subject, index: 99)
    try await heap.deleteVmo(bufferCollectionID: collection, bufferIndex: 99, vmo: vmo)
    #expect(try eventually { try ServerStatus(of: heap).quota.buffers == 0 })
    let files = try ProcessFiles.listAtRest(of: try #require(manager.process))
    #expect(!files.contains { $0.hasPrefix("pipe:") || $0.contains("memfd:lh") }, "\(files)")
  }

  @Test func `what is no buffer is closed and let go of`() async throws {
    let manager = try StandInManager(heap: MemfdHeap.name)
    manager.store.insert(try Self.pipe(), as: Self.name(1))
    manager.store.insert(try .open("/dev/null", O_RDONLY), as: Self.name(2))
    manager.store.insert(try Memfd.create("empty", size: 0), as: Self.name(3))
    try manager.start()
    #expect(eventually { manager.store.entries.isEmpty }, "\(manager.logText)")
    // The log has a thread of its own.
    let areTold = eventually {
      manager.logText.split(separator: "\n").count { $0.contains("is unusable") } == 3
    }
    #expect(areTold, "\(manager.logText)")
    try await Self.expectServing(manager, .memfd)
  }

  private static let oddNames = [
    "", "stored", "buffer 1.1 0 memfd", "b 1.1 0", "b 1.1 0memfd", "b 1 0 memfd", "b 1.1.1 0 memfd",
    "b 01.1 0 memfd", "b 1.1 00 memfd", "b 1.1 +5 memfd", "b 1.1 -5 memfd", "b 1.1 5F memfd",
    "b  1.1 0 memfd", "b 3w5e11264sgsg.1 0 memfd", "b 1.1 1z141z4 memfd", "b …", "heap ",
  ]

  @Test func `what has another name is closed, and named in the log`() async throws {
    let manager = try StandInManager(heap: MemfdHeap.name)
    for name in Self.oddNames {
      manager.store.insert(try Self.pipe(), as: name)
      manager.store.insert(try Memfd.create("lh:1.1", size: 4096), as: name)
    }
    try manager.start()
    // The log has a thread of its own.
    let areNamed = eventually {
      let log = manager.logText
      return Self.oddNames.allSatisfy { log.contains("unknown descriptor closed: \($0)\n") }
    }
    #expect(areNamed, "\(manager.logText)")
    // They are not heapd's, so heapd does not have them removed.
    #expect(manager.store.entries.count == 2 * Self.oddNames.count)
    try await Self.expectServing(manager, .memfd)
  }

  @Test(arguments: HeapUnderTest.kinds)
  func `of two buffers of one name the first is taken, and neither harmed`(
    _ subject: HeapUnderTest
  ) async throws {
    let manager = try StandInManager(heap: subject.name)
    try manager.start()
    var heap = try manager.connect()
    let vmo = try Self.allocate(heap, subject, index: 1)
    let other = HeldVMO(try Self.allocate(heap, subject, index: 2))
    #expect(eventually { manager.store.entries.count == 2 })
    manager.kill()
    manager.store.mixUp()
    try manager.start()
    heap = try manager.connect()
    // Longer than the service waits between two looks, where it looks.
    usleep(subject.isCounted ? 300_000 : 20_000)
    #expect(try ServerStatus(of: heap).buffers.map(\.index) == [1])
    let key = try await heap.info(of: vmo)
    #expect(key == Self.key)
    try await heap.deleteVmo(bufferCollectionID: Self.collection, bufferIndex: 1, vmo: vmo)
    _ = other.take()
    #expect(eventually { manager.store.entries.isEmpty })
    try await Self.expectServing(manager, subject)
  }

  @Test(arguments: HeapUnderTest.kinds)
  func `what another process was meant to have is left alone`(_ subject: HeapUnderTest) throws {
    let manager = try StandInManager(heap: subject.name)
    try manager.start()
    let vmo = try Self.allocate(try manager.connect(), subject, index: 1)
    manager.kill()
    try manager.start(.init(isMisaddressed: true))
    // It made sockets of its own.
    let other = try RemoteHeap(socket: manager.folder + "/own.sock")
    #expect(try eventually { try ServerStatus(of: other).quota.buffers == 0 })
    manager.kill()
    #expect(manager.store.entries.count == 1)
    try manager.start()
    let heap = try manager.connect()
    let key = try heap.info(of: vmo)
    #expect(key == Self.key)
    _ = consume vmo
    #expect(eventually { manager.store.entries.isEmpty })
  }

  @Test(arguments: ["", "abc", "-1", "2147483647", "99999999999999999999"])
  func `a count of descriptors that cannot be does no harm`(_ count: String) async throws {
    let manager = try StandInManager(heap: MemfdHeap.name)
    try manager.start(.init(environment: ["LISTEN_FDS": count]))
    let path = count == "2147483647" ? manager.socket : manager.folder + "/own.sock"
    let heap = try RemoteHeap(socket: path)
    _ = try Self.allocate(heap, .memfd, index: 1)
  }

  @Test(arguments: ["heap", "observer", "metrics"], [true, false])
  func `what is named as a socket and is none of its kind is closed`(
    _ name: String, isSocket: Bool
  ) async throws {
    let manager = try StandInManager(heap: MemfdHeap.name)
    let (directive, other) =
      name == "metrics"
      ? ("ListenStream=", SOCK_SEQPACKET) : ("ListenSequentialPacket=", SOCK_STREAM)
    let odd = isSocket ? try SocketFile.bound(manager.folder + "/odd", other) : try Self.pipe()
    let number = odd.rawValue
    if isSocket { _ = try call { listen(number, 1) } }
    manager.store.insert(odd, as: name)
    try manager.start(.init(passesSockets: false))
    let line =
      "unknown descriptor closed: \(name), which is no listening socket of a unit's \(directive)\n"
    #expect(eventually { manager.logText.contains(line) }, "\(manager.logText)")
    let heap = try RemoteHeap(socket: manager.folder + "/own.sock")
    _ = try Self.allocate(heap, .memfd, index: 1)
    let files = try ProcessFiles.listAtRest(of: try #require(manager.process))
    #expect(!files.contains { $0.hasPrefix("pipe:") }, "\(files)")
  }
}
