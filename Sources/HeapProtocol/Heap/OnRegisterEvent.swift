public import struct LinuxHeaps.HeapProperties

/// `fuchsia.hardware.sysmem/Heap.OnRegister`: the server's first message on a channel.
public struct OnRegisterEvent: Hashable, Sendable {
  /// Those of the heap behind the channel.
  public var properties: HeapProperties

  public init(properties: HeapProperties) { self.properties = properties }

  /// Reads a whole message, with its header; `handleCount` handles came with it.
  ///
  /// `need_flush` may be absent, which means no; it throws when another property is.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .onRegister)
    let body = try decoder.body(byteCount: HeapProperties.byteCount)
    properties = try decoder.field(at: body, "properties")
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message, all properties in it. No handle goes with it.
  public func encode(into buffer: inout [UInt8]) {
    let header = MessageHeader(transactionID: 0, ordinal: .onRegister)
    WireEncoder.write(header, body: properties, into: &buffer)
  }
}
