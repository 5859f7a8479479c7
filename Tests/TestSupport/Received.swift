package import HeapProtocol
package import LinuxHeaps

/// A message that came, and the descriptors with it.
package struct Received {
  package let bytes: [UInt8]
  package let handles: [SharedFD]

  package init(_ message: consuming MessageSocket.Message) {
    bytes = message.bytes
    var handles: [SharedFD] = []
    while let handle = message.descriptors.next() { handles.append(SharedFD(handle)) }
    self.handles = handles
  }

  package var header: MessageHeader? { try? MessageHeader(decoding: unsafe bytes.span.bytes) }

  package func decode<Message: WireMessage>(_ type: Message.Type) -> Message? {
    try? Message(decoding: unsafe bytes.span.bytes, handleCount: handles.count)
  }
}
