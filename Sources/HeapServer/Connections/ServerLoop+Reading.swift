internal import CoreMetrics
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging

// What clients ask.

extension ServerLoop {
  /// One message; the rest stays in the socket, so that clients take turns.
  func read(_ connection: Connection) {
    if connection.isEnding || holdsUp(connection) { return }
    switch input.receive(connection.socket.fd) {
    case .message(let message):
      let count = message.count
      let bytes = input.bytes
      unsafe serve(connection, bytes.span.bytes.extracting(0..<count), message.handles)
    case .nothing: break
    case .end: close(connection)
    case .truncated(let handles):
      dispose(handles, of: connection)
      refuse(connection, .invalidArgs, "a message of more than 65536 bytes or 64 handles")
    }
  }

  private func serve(
    _ connection: Connection, _ message: RawSpan, _ handles: consuming ReceivedDescriptors
  ) {
    let header: MessageHeader
    do throws(WireError) { header = try MessageHeader(decoding: message) } catch {
      dispose(handles, of: connection)
      return refuse(connection, .invalidArgs, "\(error)")
    }
    // 0 is for messages that nobody answers, and each of these methods is answered.
    if header.transactionID == 0 && connection.face.methods.contains(header.ordinal) {
      dispose(handles, of: connection)
      return refuse(connection, .invalidArgs, "\(header.ordinal) without a transaction ID")
    }
    switch connection.face {
    case .heap: serveHeap(connection, header, message, handles)
    case .observer: serveObserver(connection, header, message, handles)
    }
  }

  /// A refused request that costs no more than itself: a line of the log, or one more that the next tells.
  func note(
    _ refusal: @autoclosure () -> Logger.Message, _ connection: Connection,
    _ facts: @autoclosure () -> Logger.Metadata = [:], at level: Logger.Level = .warning
  ) {
    connection.refusals.note { suppressed in
      let who = connection.metadata.merging(["more": "\(suppressed)"]) { $1 }
      log.log(level: level, refusal(), metadata: who.merging(facts()) { $1 })
    }
  }

  /// A message that is none: the connection ends, and no other is touched.
  func refuse(_ connection: Connection, _ status: HeapError.Code, _ reason: String) {
    metrics.refused.increment()
    log.warning(
      "connection closed", metadata: connection.metadata.merging(["reason": "\(reason)"]) { $1 })
    end(connection, status)
  }
}

extension Connection.Face {
  fileprivate var methods: [MessageOrdinal] {
    switch self {
    case .heap: [.allocateVmo, .deleteVmo]
    case .observer: [.getVmoInfo, .attachLifetimeTracking, .awaitReclaimed, .getStatus]
    }
  }
}
