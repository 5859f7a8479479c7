/// The last message of a server that closes a channel, and why.
public struct Epitaph: Hashable, Sendable {
  /// A `zx.Status`.
  public var status: Int32

  public init(status: Int32) { self.status = status }

  /// Reads a whole message, with its header; `handleCount` handles came with it.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .epitaph)
    let body = try decoder.body(byteCount: Int32.byteCount)
    status = try decoder.field(at: body, "error")
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message. No handle goes with it.
  public func encode(into buffer: inout [UInt8]) {
    let header = MessageHeader(transactionID: 0, ordinal: .epitaph)
    WireEncoder.write(header, body: status, into: &buffer)
  }
}
