import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

/// unshare(2), which Glibc's module does not show.
private let unshareFiles = unsafe unsafeBitCast(
  dlsym(nil, "unshare"), to: (@convention(c) (CInt) -> CInt).self)

@Suite struct MessageSocketTests {
  private static func failure(
    _ body: (borrowing MessageSocket.Pair) throws(HeapError) -> Void
  ) throws -> HeapError? {
    let pair = try MessageSocket.Pair()
    return refusal { () throws(HeapError) in try body(pair) }
  }

  private static func stopWaiting(_ socket: borrowing MessageSocket) {
    _ = socket.withDescriptor { fcntl($0, F_SETFL, O_NONBLOCK) }
  }

  /// One that is not open.
  private static let closed: CInt = 1 << 20

  @Test func `why a message is not sent`() throws {
    let long = try Self.failure { (pair) throws(HeapError) in
      try pair.near.send(Array(repeating: 0, count: 1 << 24))
    }
    #expect(long?.code == .outOfRange)
    #expect(long?.cause == "16777216 bytes are more than the socket takes")

    let many = try Self.failure { (pair) throws(HeapError) in
      try pair.near.send([0], descriptors: Array(repeating: 0, count: 65))
    }
    #expect(many?.code == .invalidArgs)
    #expect(many?.cause == "a message carries at most 64 descriptors, not 65")

    let bad = try Self.failure { (pair) throws(HeapError) in
      try pair.near.send([0], descriptors: [Self.closed])
    }
    #expect(bad?.code == .badHandle)
    #expect(bad?.cause == "a descriptor that is to go along is not open")

    let full = try Self.failure { (pair) throws(HeapError) in
      Self.stopWaiting(pair.near)
      while true { try pair.near.send(Array(repeating: 0, count: 4096)) }
    }
    #expect(full?.code == .shouldWait)
    #expect(full?.fix == "wait for room: poll(2)")
  }

  @Test func `who hangs up is told of by each call, with the path where there is one`() throws {
    let path = "/tmp/message-socket.\(getpid())"
    let listener = try MessageListener(at: path)
    for isAccepted in [false, true] {
      var near: MessageSocket? = try MessageSocket(connectedTo: path)
      var far: MessageSocket? = try listener.accept()
      if isAccepted { swap(&near, &far) }
      far = nil
      let socket = near.take()!
      let vmo = try MemfdHeap().allocate(byteCount: 1)
      for error in [
        refusal { () throws(HeapError) in try socket.send([0]) },
        refusal { () throws(HeapError) in try socket.send([0], passing: vmo) },
        refusal { () throws(HeapError) in try socket.send(vmo) },
        refusal { () throws(HeapError) in try socket.send(BufferSet()) },
      ] {
        #expect(error?.code == .peerClosed)
        #expect(error?.path == FilePath(path))
        #expect(error?.cause == "the other end is closed")
        #expect(error?.fix == "make a new connection")
      }
      let isOver = try isOver(socket)
      #expect(isOver)
    }
  }

  private func isOver(_ socket: borrowing MessageSocket) throws -> Bool {
    if case .none = try socket.receive() { true } else { false }
  }

  /// recvmsg(2) says ECONNRESET first.
  @Test func `what was sent by an end that closed with messages unread arrives`() throws {
    let near: MessageSocket
    do {
      let pair = try MessageSocket.Pair()
      for number: UInt8 in 1...3 { try pair.far.send([number]) }
      try pair.near.send([0])
      near = pair.keepingNear()
    }
    for number: UInt8 in 1...3 { #expect(try near.receive()?.bytes == [number]) }
    let isOver = try isOver(near)
    #expect(isOver)
  }

  @Test func `why a message is not received, and what it brought is closed`() throws {
    let heap = MemfdHeap()
    let none = try Self.failure { (pair) throws(HeapError) in
      Self.stopWaiting(pair.far)
      _ = try pair.far.receive()
    }
    #expect(none?.code == .shouldWait && none?.fix == "wait for one: poll(2)")

    let long = try Self.failure { (pair) throws(HeapError) in
      try pair.near.send([1, 2, 3], passing: try heap.allocate(byteCount: 1))
      _ = try pair.far.receive(atMost: 2)
    }
    #expect(long?.code == .outOfRange && long?.cause == "the message has more than 2 bytes")

    let odd = try Self.failure { (pair) throws(HeapError) in
      pair.far.withDescriptor { number in
        var on: CInt = 1
        _ = unsafe setsockopt(number, SOL_SOCKET, SO_PASSCRED, &on, 4)
      }
      try pair.near.send([1], passing: try heap.allocate(byteCount: 1))
      _ = try pair.far.receive()
    }
    #expect(odd?.code == .invalidArgs && odd?.cause.hasSuffix("or other ancillary data") == true)

    let many = try Self.failure { (pair) throws(HeapError) in
      let files = Array(repeating: CInt(0), count: 65)
      try attempt("send") { () throws(Errno) in
        try pair.near.withDescriptor { (socket) throws(Errno) in
          try WireClient.send(on: socket, [1], files)
        }
      }
      _ = try pair.far.receive()
    }
    #expect(many?.code == .invalidArgs && many?.cause == odd?.cause)
    #expect(eventually { heap.liveBufferCount == 0 })
  }

  @Test func `a full descriptor table is told, and closes what came`() async {
    await #expect(processExitsWith: .success) {
      // The other threads, which need descriptors at any time, keep a table of their own.
      let ended = Guarded(false)
      try KernelThread.start("full-table") {
        defer { ended.withLock { $0 = true } }
        do {
          let heap = MemfdHeap()
          let pair = try MessageSocket.Pair()
          try pair.near.send([1], passing: try heap.allocate(byteCount: 1))
          try pair.near.send(try heap.allocateBuffers(count: 2, byteCount: 1))
          precondition(unshareFiles(0x400 /* CLONE_FILES */) == 0)
          var limit = rlimit(rlim_cur: 256, rlim_max: 4096)
          precondition(unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
          var last: CInt = -1
          while case let number = unsafe open("/dev/null", O_RDONLY), number >= 0 { last = number }
          // One is free for two.
          close(last)
          let count = try pair.far.receive()?.descriptors.count
          precondition(count == 1)
          let errors = [
            refusal { () throws(HeapError) in _ = try pair.far.receiveBuffers() },
            refusal { () throws(HeapError) in _ = try MessageSocket.Pair() },
          ]
          for error in errors {
            precondition(error?.code == .noResources, "\(error?.description ?? "")")
            precondition(error?.fix?.hasPrefix("close descriptors, or raise") == true)
          }
          precondition(errors[0]?.cause.hasPrefix("this process has no room for") == true)
          precondition(eventually { heap.liveBufferCount == 0 })
        } catch {
          preconditionFailure("\(error)")
        }
      }
      precondition(eventually { ended.withLock { $0 } })
    }
  }
}
