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

  /// Nil for what has none.
  var header: MessageHeader? {
    let bytes = self.bytes
    return try? MessageHeader(decoding: unsafe bytes.span.bytes)
  }

  var epitaph: HeapError.Code? {
    decode(as: Epitaph.self).map { HeapError.Code(rawValue: $0.status) }
  }

  /// Nil for a message of another form.
  func decode<Message: WireMessage>(as type: Message.Type) -> Message? {
    let bytes = self.bytes
    return try? Message(decoding: unsafe bytes.span.bytes, handleCount: handleCount)
  }

  func takeHandle(_ index: HandleIndex) -> OwnedFD {
    handles.withLock { $0.take(at: index.rawValue) }
  }
}
