/// `linuxheaps/Observer.GetStatus`: what does the server hold?
///
/// The reply is a ``GetStatusReply``.
public struct GetStatusRequest: Hashable, Sendable {
  public init() {}

  /// Reads a whole message, with its header; `handleCount` handles came with it.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .getStatus)
    let _: EmptyTable = try decoder.body()
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message. No handle goes with it.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(
      transactionID: transactionID, ordinal: .getStatus, isFlexible: true)
    WireEncoder.write(header, body: EmptyTable(), into: &buffer)
  }
}
