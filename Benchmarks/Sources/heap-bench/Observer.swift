internal import Glibc
internal import Wire

/// A connection to the observer's socket, which tells when buffers are fully reclaimed.
struct Observer: ~Copyable {
  private let connection: Descriptor
  private var lastTransaction: UInt32 = 0
  private var awaited: Set<UInt32> = []

  init(of server: borrowing Server) throws(Failure) {
    let path = "\(server.socket).observer"
    connection = Descriptor(
      adopting: try check(unsafe Wire_connect(path), "cannot connect to \(path)"))
  }

  /// Has the end of a buffer reported, and closes the vmo here.
  mutating func await(_ vmo: CInt) throws(Failure) {
    defer { close(vmo) }
    lastTransaction += 1
    awaited.insert(lastTransaction)
    var message = Wire_await(lastTransaction)
    let bytes = unsafe withUnsafeBytes(of: &message) { unsafe Array($0) }
    try connection.send(bytes, passing: vmo)
  }

  /// Waits until all awaited buffers are reclaimed.
  mutating func waitForAll(within limit: Duration = .seconds(10)) throws(Failure) {
    let deadline = ContinuousClock.now + limit
    while !awaited.isEmpty {
      guard connection.waitToRead(until: deadline) else {
        throw Failure(
          "\(awaited.count) buffers of a dead client not reclaimed in \(limit.components.seconds) s"
        )
      }
      try take(try connection.receive().bytes)
    }
  }

  private mutating func take(_ reply: [UInt8]) throws(Failure) {
    if reply.isEmpty { throw Failure("the server hung up on the observer") }
    var header = Wire_Header()
    guard reply.count >= MemoryLayout.size(ofValue: header) else {
      throw Failure("a reply of \(reply.count) bytes to AwaitReclaimed")
    }
    unsafe withUnsafeMutableBytes(of: &header) { unsafe $0.copyBytes(from: reply[..<16]) }
    guard header.ordinal == UInt64(Wire_AWAIT_RECLAIMED),
      awaited.remove(header.txid) != nil
    else { throw Failure("not a reply to AwaitReclaimed: \(reply)") }
    // A flexible method's reply is a union: 1 is the response, all else a refusal.
    guard reply.count < 24 || reply[16] == 1 else {
      throw Failure("AwaitReclaimed refused: \(reply[16...])")
    }
  }
}
