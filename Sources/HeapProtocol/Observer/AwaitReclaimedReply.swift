/// The reply to an ``AwaitReclaimedRequest``; a failure is a `zx.Status`.
public struct AwaitReclaimedReply: Hashable, Sendable {
  /// Success means: the buffer's memory went back.
  public var result: FlexibleResult<EmptyTable, Int32>

  public init(_ result: FlexibleResult<EmptyTable, Int32>) { self.result = result }

  /// Reads a whole message, with its header; `handleCount` handles came with it.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .awaitReclaimed)
    result = try decoder.body()
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message. No handle goes with it.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(
      transactionID: transactionID, ordinal: .awaitReclaimed, isFlexible: true)
    WireEncoder.write(header, body: result, into: &buffer)
  }
}
