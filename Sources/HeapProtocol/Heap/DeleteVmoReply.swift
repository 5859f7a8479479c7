/// The reply to a ``DeleteVmoRequest``: the buffer's resources are gone. There is no other.
public struct DeleteVmoReply: Hashable, Sendable {
  public init() {}

  /// Reads a whole message, which is a header alone; `handleCount` handles came with it.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    let decoder = try WireDecoder(message, handleCount: handleCount, of: .deleteVmo)
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message. No handle goes with it.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(transactionID: transactionID, ordinal: .deleteVmo)
    WireEncoder.write(header, bodyByteCount: 0, into: &buffer) { _ in }
  }
}
