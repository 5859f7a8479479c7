import Glibc
import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

/// What may wait for a collection's end: nothing that could hold a buffer of it.
@Suite struct TrackerTests {
  enum Kind: CaseIterable {
    case ownChild, othersChild, socketWithChild, ownConnection, observersConnection, epoll, memfd,
      directory, fifo
  }

  @Test(arguments: Kind.allCases)
  func `what is no end of a pipe is refused, and nothing stays when its client is gone`(
    _ kind: Kind
  ) throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      let observer = try WireClient.observer(scene.daemon)
      let child = try client.allocate(1)
      let handle = try Self.handle(kind, child, client, observer)
      #expect(throws: Refusal(code: .invalidArgs)) {
        try observer.attach(handle, to: 7, remaining: 0)
      }
      try scene.daemon.expectLog("tracking refused: the handle is no end of a pipe")
    }
    let isAlone = try eventually { try scene.observer.status().buffers.count == 1 }
    #expect(isAlone)
    try scene.expectUnharmed()
  }

  private static func handle(
    _ kind: Kind, _ child: SharedFD, _ client: WireClient, _ observer: WireClient
  ) throws -> SharedFD {
    switch kind {
    case .ownChild: return child
    case .othersChild: return try client.allocate(1, of: 8)
    case .socketWithChild:
      let pair = try OddFile.socketPair()
      try WireClient.send(on: pair.near.fd.rawValue, [1], [child.fd.rawValue])
      return pair.far
    case .ownConnection: return SharedFD(try OddFile.duplicate(observer.descriptor))
    case .observersConnection: return SharedFD(try OddFile.duplicate(client.descriptor))
    case .epoll: return try OddFile.epoll()
    case .memfd: return try OddFile.memfd()
    case .directory: return try OddFile.open("/", O_RDONLY | O_DIRECTORY)
    case .fifo:
      // Of a file system, which decides what its close does.
      let folder = try TemporaryFolder()
      _ = unsafe mkfifo(folder.path + "/fifo", 0o600)
      return try OddFile.open(folder.path + "/fifo", O_RDWR)
    }
  }
}
