import CLinuxHeaps
import Glibc
import HeapClient
import HeapProtocol
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

/// What a client may not bring. Each costs that request, and its connection goes on.
@Suite struct ClientMemoryTests {
  private static func refusal(
    _ client: WireClient, _ memory: SharedFD, size: UInt64 = pageSize,
    settings: SingleBufferSettings = SingleBufferSettings()
  ) -> HeapError.Code? {
    #expect(throws: Refusal.self) {
      try client.allocate(from: memory, 1, size: size, settings: settings)
    }?.code
  }

  @Test func `what is no memfd of single pages is of the wrong type`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      let memory = try ClientMemory.make()
      var odd = [
        try OddFile.open("/dev/zero", O_RDWR), try OddFile.open("/tmp", O_RDONLY | O_DIRECTORY),
        try OddFile.pipe().write, try OddFile.unixSocket(), try OddFile.epoll(),
        try OddFile.open("/proc/self/exe", O_RDONLY),
        try OddFile.open("/proc/self/fd/\(memory.fd.rawValue)", OddFile.pathOnly),
      ]
      // A kernel without hugetlbfs makes none.
      let huge = try? ClientMemory.make(
        size: 1 << 30, flags: Self.hugePages, fill: { (_, _) throws(Errno) in })
      if let huge { odd.append(huge) }
      for (index, file) in odd.enumerated() {
        #expect(Self.refusal(client, file) == .wrongType, "\(index)")
      }
    }
    try scene.expectUnharmed()
  }

  /// `MFD_HUGETLB` (memfd_create(2)), hidden behind `_GNU_SOURCE`.
  private static let hugePages: UInt32 = 4

  static let seals: [CInt] = {
    let all = ClientMemory.seals
    return [
      0, all & ~CLinuxHeaps_F_SEAL_SHRINK, all & ~CLinuxHeaps_F_SEAL_GROW,
      all & ~CLinuxHeaps_F_SEAL_SEAL, all | CLinuxHeaps_F_SEAL_WRITE,
      all | CLinuxHeaps_F_SEAL_FUTURE_WRITE,
    ]
  }()

  @Test(arguments: seals)
  func `seals have to be these`(_ seals: CInt) throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      #expect(Self.refusal(client, try ClientMemory.make(seals: seals)) == .wrongType)
    }
    try scene.expectUnharmed()
  }

  @Test func `memory that was not filled, or is too small, is refused`() throws {
    let scene = try Scene()
    // Without the driver it is not looked into.
    let refusal: HeapError.Code = UDMABufHeap.isUsable ? .badState : .notSupported
    do {
      let client = try WireClient.heap(scene.daemon)
      let size = 4 * pageSize
      let empty = try ClientMemory.make(size: size) { (_, _) throws(Errno) in }
      #expect(Self.refusal(client, empty, size: size) == refusal)
      // Its pages are the kernel's own until somebody uses them.
      let allocated = try ClientMemory.make(size: size, fill: ClientMemory.allocate)
      #expect(try ClientMemory.present(allocated) == size)
      #expect(Self.refusal(client, allocated, size: size) == refusal)
      let holed = try ClientMemory.make(size: size)
      try ClientMemory.punch(holed.fd.rawValue, pageSize)
      #expect(Self.refusal(client, holed, size: size) == refusal)
      // What nobody else made is left alone.
      #expect(try ClientMemory.present(allocated) == size)
      #expect(try ClientMemory.present(holed) == size - pageSize)
      #expect(Self.refusal(client, try ClientMemory.make(), size: size) == .outOfRange)
      #expect(Self.refusal(client, try ClientMemory.make(), size: 0) == .invalidArgs)
      #expect(Self.refusal(client, try ClientMemory.make(), size: .max) == .outOfRange)
    }
    try scene.expectUnharmed()
  }

  @Test func `who may only read it cannot have it made writable`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      let memory = try ClientMemory.make()
      let readOnly = try OddFile.open("/proc/self/fd/\(memory.fd.rawValue)", O_RDONLY)
      #expect(Self.refusal(client, readOnly) == .accessDenied)
      let writeOnly = try OddFile.open("/proc/self/fd/\(memory.fd.rawValue)", O_WRONLY)
      #expect(Self.refusal(client, writeOnly) == .accessDenied)
    }
    try scene.expectUnharmed()
  }

  @Test(.enabled(if: TestUser.isRoot, "needs root, to connect as another"))
  func `another user's memory is refused`() throws {
    let daemon = try Daemon(arguments: ["--mode", "0666"], openFolder: true)
    let client = try WireClient.heap(daemon, as: .first)
    #expect(Self.refusal(client, try ClientMemory.make()) == .accessDenied)
  }

  @Test func `it is memory of single pages anywhere, or none`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      let memory = try ClientMemory.make()
      for settings in [
        BufferMemorySettings(isPhysicallyContiguous: true), BufferMemorySettings(isSecure: true),
        BufferMemorySettings(heap: HeapIdentifier(heapType: "/dev/dma_heap/system")),
      ] {
        let settings = SingleBufferSettings(bufferSettings: settings)
        #expect(Self.refusal(client, memory, settings: settings) == .notSupported)
      }
    }
    try scene.expectUnharmed()
  }

  @Test func `a key that is taken is refused`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      let buffer = try client.allocate(1)
      #expect(Self.refusal(client, try ClientMemory.make()) == .alreadyExists)
      withExtendedLifetime(buffer) {}
    }
    try scene.expectUnharmed()
  }

  @Test func `without udmabuf, and of vmos without pages, there is none`() throws {
    let heaps = UDMABufHeap.isUsable ? ["opaque"] : ["opaque", "memfd"]
    for name in heaps {
      let daemon = try Daemon(heap: [name])
      let heap = try RemoteHeap(socket: daemon.socket, charging: .client)
      let error = TestSupport.refusal { () throws(HeapError) in
        try heap.allocate(byteCount: 3 * pageSize + 1)
      }
      #expect(error?.code == .notSupported, "\(name)")
      let text = try heap.status()
      #expect(text.contains(#""clientMemory":false"#) || name != "opaque")
      // The connection goes on.
      _ = try WireClient.heap(daemon).allocate(0)
    }
  }

  @Test func `a size that is none is refused here`() throws {
    let daemon = try Daemon()
    let heap = try RemoteHeap(socket: daemon.socket, charging: .client)
    for (size, code) in [(0, .invalidArgs), (.max, .outOfRange)] as [(UInt64, HeapError.Code)] {
      let error = TestSupport.refusal { () throws(HeapError) in try heap.allocate(byteCount: size) }
      #expect(error?.code == code)
    }
    // More than any machine has.
    let error = TestSupport.refusal { () throws(HeapError) in try heap.allocate(byteCount: 1 << 50)
    }
    #expect(error?.code == .noMemory)
  }

  // MARK: Users without a quota

  @Test(.enabled(if: TestUser.isRoot, "needs root, to connect as others"))
  func `users without a quota have to bring their memory`() throws {
    let group = TestUser(user: 54_323, group: 54_400)
    let daemon = try Daemon(
      configuration: "quota-users = 54321\nquota-groups = 54400\n",
      arguments: ["--mode", "0666"], openFolder: true)
    for user in [TestUser.first, group] {
      #expect(try WireClient.heap(daemon, as: user).refusal(1) == nil)
    }
    // heapd's own user.
    #expect(try WireClient.heap(daemon).refusal(1) == nil)
    let other = try WireClient.heap(daemon, as: .second)
    #expect(try other.refusal(1) == .accessDenied)
    try daemon.expectLog("allocation refused", "the user has no quota", "user=54322")
    // What it brings is looked at.
    #expect(Self.refusal(other, try ClientMemory.make(seals: 0)) == .wrongType)
  }
}
