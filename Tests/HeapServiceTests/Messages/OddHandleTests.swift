import Glibc
import HeapProtocol
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

/// Handles of what is no vmo, where a vmo belongs.
@Suite struct OddHandleTests {
  enum Kind: CaseIterable {
    case pipe, null, pathOnly, directory, epoll, file, memfd, unixSocket, ownConnection
  }

  private static func make(_ kind: Kind, _ daemon: Daemon) throws -> SharedFD {
    switch kind {
    case .pipe: try OddFile.pipe().write
    case .null: try OddFile.open("/dev/null", O_RDWR)
    case .pathOnly: try OddFile.open("/etc/passwd", OddFile.pathOnly)
    case .directory: try OddFile.open("/", O_RDONLY | O_DIRECTORY)
    case .epoll: try OddFile.epoll()
    case .file: try OddFile.open(daemon.folder + "/log", O_RDONLY)
    case .memfd: try OddFile.memfd()
    case .unixSocket: try OddFile.unixSocket()
    case .ownConnection: try OddFile.open("/dev/null", O_RDWR)
    }
  }

  /// `SO_PASSRIGHTS` (Linux 6.16) is on for every socket that was not asked; the C library's headers may be older.
  private static let passRights: CInt = 83

  private static func refuseDescriptors(_ socket: CInt) -> Bool {
    var off: CInt = 0
    return unsafe setsockopt(
      socket, SOL_SOCKET, passRights, &off, socklen_t(MemoryLayout<CInt>.size)) == 0
  }

  private static let canBeRefused =
    (try? OddFile.unixSocket()).map { refuseDescriptors($0.fd.rawValue) } == true

  @Test(.enabled(if: canBeRefused, "needs SO_PASSRIGHTS (Linux 6.16)"))
  func `who takes no descriptors is told`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      #expect(Self.refuseDescriptors(client.descriptor))
      let request = AllocateVmoRequest(
        size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 1)
      try client.request { request.encode(transactionID: $0, into: &$1) }
      #expect(try client.epitaph() == .accessDenied)
      try scene.daemon.expectLog("SO_PASSRIGHTS is off")
    }
    try scene.expectUnharmed()
  }

  @Test(arguments: Kind.allCases)
  func `a handle that is none of the buffer's touches nothing`(_ kind: Kind) throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      let vmo = try client.allocate(1)
      let odd = try handle(kind, client, scene.daemon)
      try client.sendDelete(1, odd)
      #expect(try client.epitaph() == .invalidArgs)
      let info = try scene.observer.info(vmo)
      #expect(info?.bufferIndex == 1)
    }
    try scene.expectUnharmed()
  }

  @Test(arguments: Kind.allCases)
  func `with an unknown key it is closed, and answered`(_ kind: Kind) throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      let odd = try handle(kind, client, scene.daemon)
      try client.receiveDeleted(client.sendDelete(1, odd))
      try scene.daemon.expectLog("DeleteVmo of an unknown buffer", "7")
    }
    try scene.expectUnharmed()
  }

  @Test(arguments: Kind.allCases)
  func `Observer knows no buffer of it`(_ kind: Kind) throws {
    let scene = try Scene()
    do {
      let client = try WireClient.observer(scene.daemon)
      let odd = try handle(kind, client, scene.daemon)
      #expect(try client.info(odd) == nil)
      try client.sendAwait(odd)
      let reply = try client.receive()
      #expect(
        reply?.bytes.suffix(16) == [2, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0xff, 0xff, 0xff, 0, 0, 1, 0])
    }
    try scene.expectUnharmed()
  }

  private func handle(_ kind: Kind, _ client: WireClient, _ daemon: Daemon) throws -> SharedFD {
    guard kind == .ownConnection else { return try Self.make(kind, daemon) }
    return SharedFD(try OddFile.duplicate(client.descriptor))
  }
}
