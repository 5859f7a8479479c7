import LinuxHeaps
import TestSupport
import Testing

/// What no client of the protocols sends, over the wire: only its sender notices.
@Suite struct MalformedMessageTests {
  @Test(arguments: Malformed.heap)
  func `the Heap socket refuses`(_ message: Malformed) throws {
    let scene = try Scene()
    do {
      let client = try WireClient.heap(scene.daemon)
      try expectRefusal(of: message, to: client)
    }
    try scene.expectUnharmed()
  }

  @Test(arguments: Malformed.observer)
  func `the Observer socket refuses`(_ message: Malformed) throws {
    let scene = try Scene()
    do {
      let client = try WireClient.observer(scene.daemon)
      try expectRefusal(of: message, to: client)
    }
    try scene.expectUnharmed()
  }

  private func expectRefusal(of message: Malformed, to client: WireClient) throws {
    let file = try OddFile.memfd()
    try client.send(
      message.bytes, Array(repeating: file.fd.rawValue, count: message.handles))
    let status = try client.epitaph()
    #expect(status == .invalidArgs)
  }

  @Test(arguments: GoodMessage.heap)
  func `the Heap socket refuses a part of`(_ message: GoodMessage) throws {
    let scene = try Scene()
    do {
      try expectRefusalOfParts(of: message) { try .heap(scene.daemon) }
    }
    try scene.expectUnharmed()
  }

  @Test(arguments: GoodMessage.observer)
  func `the Observer socket refuses a part of`(_ message: GoodMessage) throws {
    let scene = try Scene()
    do {
      try expectRefusalOfParts(of: message) { try .observer(scene.daemon) }
    }
    try scene.expectUnharmed()
  }

  /// Every length of a header, then each word.
  private func expectRefusalOfParts(
    of message: GoodMessage, _ connect: () throws -> WireClient
  ) throws {
    let file = try OddFile.memfd()
    let handles = Array(repeating: file.fd.rawValue, count: message.handles)
    let lengths = Array(1..<16) + stride(from: 16, to: message.bytes.count, by: 8)
    for length in lengths {
      let client = try connect()
      try client.send(Array(message.bytes.prefix(length)), handles)
      let status = try client.epitaph()
      #expect(status == .invalidArgs, "\(length) bytes")
    }
  }

  /// No bytes at all look like the end of a connection (recv(2)), and are a message all the same.
  @Test(arguments: [0, 1, 64])
  func `an empty message is refused`(_ handles: Int) throws {
    let scene = try Scene()
    do {
      let file = try OddFile.memfd()
      for client in [try WireClient.heap(scene.daemon), try WireClient.observer(scene.daemon)] {
        try client.send([], Array(repeating: file.fd.rawValue, count: handles))
        let status = try client.epitaph()
        #expect(status == .invalidArgs)
      }
    }
    try scene.expectUnharmed()
  }

  @Test func `the good messages are good`() throws {
    let scene = try Scene()
    let file = try OddFile.memfd()
    for message in GoodMessage.heap {
      let client = try WireClient.heap(scene.daemon)
      try client.send(
        message.bytes, Array(repeating: file.fd.rawValue, count: message.handles))
      let reply = try client.receive()
      #expect(reply?.bytes.prefix(16) == message.bytes.prefix(16), "\(message.testDescription)")
    }
    for message in GoodMessage.observer where message.testDescription != "AwaitReclaimed" {
      let client = try WireClient.observer(scene.daemon)
      try client.send(
        message.bytes, Array(repeating: file.fd.rawValue, count: message.handles))
      let reply = try client.receive()
      #expect(reply?.bytes.prefix(16) == message.bytes.prefix(16), "\(message.testDescription)")
    }
  }
}
