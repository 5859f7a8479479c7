package import HeapProtocol
package import LinuxHeaps

/// A message that came, and the descriptors with it.
package struct Received {
  package let bytes: [UInt8]
  package let handles: [SharedFD]

  package init(_ message: consuming MessageSocket.Message) {
    bytes = message.bytes
    handles = Self.take(message.descriptors)
  }

  private static func take(_ descriptors: consuming ReceivedDescriptors) -> [SharedFD] {
    var handles: [SharedFD] = []
    while let handle = descriptors.next() { handles.append(SharedFD(handle)) }
    return handles
  }

  package var header: MessageHeader? { try? MessageHeader(decoding: unsafe bytes.span.bytes) }

  package func decode<Message: WireMessage>(_ type: Message.Type) -> Message? {
    try? Message(decoding: unsafe bytes.span.bytes, handleCount: handles.count)
  }
}
