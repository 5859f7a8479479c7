internal import HeapProtocol
internal import LinuxHeaps

/// A message on its way between threads; what it brought is closed with it.
final class MessageBox: Sendable {
  let bytes: [UInt8]
  let handleCount: Int
  private let handles: Guarded<ReceivedDescriptors>

  init(_ message: consuming MessageSocket.Message) {
    bytes = message.bytes
    handleCount = message.descriptors.count
    handles = Guarded(message.descriptors)
  }

  var header: MessageHeader? {
    decode { (message, _) throws(WireError) in try MessageHeader(decoding: message) }
  }

  var epitaph: HeapError.Code? {
    let epitaph = decode { (message, count) throws(WireError) in
      try Epitaph(decoding: message, handleCount: count)
    }
    return epitaph.map { HeapError.Code(rawValue: $0.status) }
  }

  /// Nil for a message of another form.
  func decode<Value>(_ body: (RawSpan, Int) throws(WireError) -> Value) -> Value? {
    try? body(unsafe bytes.span.bytes, handleCount)
  }

  func takeHandle(_ index: HandleIndex) -> OwnedFD {
    handles.withLock { $0.take(at: index.rawValue) }
  }
}
