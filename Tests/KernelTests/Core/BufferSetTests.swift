import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct BufferSetTests {
  @Test(.timeLimit(.minutes(1)))
  func `buffers in numbers are allocated, sent, received and deleted`() async throws {
    let heap = MemfdHeap()
    let buffers = try heap.allocateBuffers(count: 64, byteCount: pageSize)
    #expect(buffers.count == 64 && heap.liveBufferCount == 64)
    let keys = try buffers.indices.map { try heap.info(of: buffers[$0].vmo) }
    #expect(Set(keys.map(\.bufferCollectionID)).count == 1)
    #expect(keys.map(\.bufferIndex) == Array(0..<64))
    for index in buffers.indices {
      try buffers[index].vmo.withMutableBytes { bytes in bytes[0] = UInt8(index) }
    }
    do {
      let pair = try MessageSocket.Pair()
      try pair.near.send(buffers)
      let received = try pair.far.receiveBuffers()
      guard let received else { throw Errno.connectionReset }
      #expect(received.count == 64)
      for index in received.indices {
        #expect(received[index].vmo.identity == buffers[index].vmo.identity)
        #expect(try received[index].vmo.copyBytes(0..<1) == [UInt8(index)])
      }
    }
    try await heap.delete(buffers)
    #expect(heap.liveBufferCount == 0)
  }

  @Test func `a set is filled and emptied by hand, and what is left is closed with it`() throws {
    let heap = MemfdHeap()
    do {
      var buffers = BufferSet()
      #expect(buffers.count == 0)
      for size in UInt64(1)...9 { buffers.append(try heap.allocate(byteCount: size * pageSize)) }
      #expect(buffers.count == 9 && buffers[8].vmo.byteCount == 9 * pageSize)
      let kept = buffers.elements.removeFirst()
      buffers.elements.removeLast(4)
      #expect(buffers.count == 4 && buffers[0].vmo.byteCount == 2 * pageSize)
      // One at which the reclaimer looks just then goes a moment after its last close.
      #expect(eventually { heap.liveBufferCount == 5 })
      withExtendedLifetime(kept) {}
    }
    #expect(eventually { heap.liveBufferCount == 0 })
    let none = try heap.allocateBuffers(count: 0, byteCount: 1)
    #expect(none.count == 0)
  }

  @Test func `those made before one that is refused go back`() throws {
    let heap = MemfdHeap(admission: Admission(budget: 3 * pageSize))
    let error = refusal { () throws(HeapError) in
      try heap.allocateBuffers(count: 4, byteCount: 1)
    }
    #expect(error?.code == .noMemory)
    #expect(heap.liveBufferCount == 0)
  }

  @Test func `a slice arrives as the slice that it is`() throws {
    let heap = MemfdHeap()
    let vmo = try heap.allocate(byteCount: 4 * pageSize)
    let pair = try MessageSocket.Pair()
    try pair.near.send(try vmo.slice(offset: pageSize, byteCount: 2 * pageSize))
    guard let slice = try pair.far.receiveVMO() else { throw Errno.connectionReset }
    #expect(slice.identity == vmo.identity)
    #expect(slice.offset == pageSize && slice.byteCount == 2 * pageSize)
  }

  @Test func `more than a message carries is refused`() throws {
    let heap = MemfdHeap()
    let buffers = try heap.allocateBuffers(count: 65, byteCount: 1)
    let pair = try MessageSocket.Pair()
    let error = refusal { () throws(HeapError) in try pair.near.send(buffers) }
    #expect(error?.code == .invalidArgs)
  }

  /// What a sender that is not to be trusted can send.
  private static let odd: [[UInt8]] = [
    // No whole range, two for one descriptor, one of no bytes, one beyond all files, one that is not aligned.
    Array(repeating: 0, count: 15), Array(repeating: 0, count: 32), Array(repeating: 0, count: 16),
    Array(repeating: 0xff, count: 16), [1, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0],
  ]

  @Test(arguments: odd)
  func `a message of another form is refused, and what it brought is closed`(
    _ bytes: [UInt8]
  ) throws {
    let heap = MemfdHeap()
    let pair = try MessageSocket.Pair()
    do {
      let vmo = try heap.allocate(byteCount: 1)
      try pair.near.send(bytes, passing: vmo)
      #expect(refusal { () throws(HeapError) in _ = try pair.far.receiveVMO() } != nil)
    }
    // What came were descriptors, whose close the kernel reports a moment later.
    #expect(eventually { heap.liveBufferCount == 0 })
    try pair.near.send(bytes)
    #expect(refusal { () throws(HeapError) in _ = try pair.far.receiveVMO() } != nil)
  }

  @Test func `a message without a vmo says how to read it`() throws {
    let pair = try MessageSocket.Pair()
    try pair.near.send([1, 2, 3])
    let error = refusal { () throws(HeapError) in _ = try pair.far.receiveVMO() }
    #expect(error?.cause == "the message carries no vmo")
    #expect(error?.fix == "read it with receive()")
  }

  @Test func `the end of a connection is no vmo`() throws {
    let near = try MessageSocket.Pair().keepingNear()
    let isOver = if case .none = try near.receiveVMO() { true } else { false }
    #expect(isOver)
  }
}

@Suite struct MessageListenerTests {
  private static let path = "/tmp/message-listener.\(getpid())"

  private func connecting(to path: String) -> HeapError? {
    refusal { () throws(HeapError) in _ = try MessageSocket(connectedTo: path) }
  }

  @Test(arguments: ["", "/tmp/" + String(repeating: "p", count: 103)])
  func `what no socket's path can be is refused`(_ path: String) {
    let listening = refusal { () throws(HeapError) in _ = try MessageListener(at: path) }
    for error in [listening, connecting(to: path)] {
      #expect(error?.code == .invalidArgs)
      #expect(
        error?.cause.hasSuffix("has 1 to 107 bytes (unix(7)), this one \(path.utf8.count)") == true)
    }
  }

  @Test func `a folder that is not there is told`() {
    let error = refusal { () throws(HeapError) in
      _ = try MessageListener(at: "/nonexistent/socket")
    }
    #expect(error?.code == .notFound && error?.cause == "there is no such folder")
    #expect(error?.fix == "make the folder, or choose another path")
  }

  @Test func `two processes meet at a path, and its file goes with the listener`() throws {
    let path = Self.path + ".meet"
    do {
      let listener = try MessageListener(at: path)
      let near = try MessageSocket(connectedTo: path)
      let far = try listener.accept()
      try near.send([1, 2, 3])
      #expect(try far.receive()?.bytes == [1, 2, 3])
      let taken = refusal { () throws(HeapError) in _ = try MessageListener(at: path) }
      #expect(taken?.code == .alreadyExists && taken?.cause == "somebody listens there")
      #expect(unsafe access(path, F_OK) == 0)
    }
    #expect(unsafe access(path, F_OK) != 0)
    #expect(connecting(to: path)?.code == .notFound)
  }

  @Test func `a file that was left behind is replaced, and no other file is`() throws {
    let path = Self.path + ".left"
    defer { unsafe unlink(path) }
    // Bound, and closed without a word.
    do {
      let socket = try OwnedFD.unixSocket(SOCK_SEQPACKET, isBlocking: true)
      let number = socket.rawValue
      _ = unsafe try UnixAddress.use(path) { unsafe bind(number, $0, $1) }.get()
    }
    #expect(connecting(to: path)?.cause == "nobody listens there")
    _ = try MessageListener(at: path)
    _ = try OwnedFD(adopting: call { unsafe open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600) })
    let error = refusal { () throws(HeapError) in _ = try MessageListener(at: path) }
    #expect(error?.code == .alreadyExists && error?.fix == "choose another path")
    #expect(unsafe access(path, F_OK) == 0)
    let other = connecting(to: path)
    #expect(other?.code == .wrongType && other?.cause == "it is no socket")
  }

  @Test func `a name without a file serves too`() throws {
    let name = "@message-listener.\(getpid())"
    let listener = try MessageListener(at: name)
    let near = try MessageSocket(connectedTo: name)
    try near.send([4])
    #expect(try listener.accept().receive()?.bytes == [4])
  }
}
