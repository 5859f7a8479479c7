/// The reply to a ``GetVmoInfoRequest``.
public struct GetVmoInfoReply: Hashable, Sendable {
  /// The buffer's key, or why it is not told.
  public var result: FlexibleResult<VmoInfo, SysmemError>

  public init(_ result: FlexibleResult<VmoInfo, SysmemError>) { self.result = result }

  /// Reads a whole message, with its header; `handleCount` handles came with it.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .getVmoInfo)
    result = try decoder.body()
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message. No handle goes with it.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(
      transactionID: transactionID, ordinal: .getVmoInfo, isFlexible: true)
    WireEncoder.write(header, body: result, into: &buffer)
  }
}

/// A buffer's key.
public struct VmoInfo: Hashable, Sendable {
  /// The first half of the buffer's key; any number.
  public var bufferCollectionID: UInt64
  /// The second half: the place in the collection; any number.
  public var bufferIndex: UInt64

  public init(bufferCollectionID: UInt64, bufferIndex: UInt64) {
    self.bufferCollectionID = bufferCollectionID
    self.bufferIndex = bufferIndex
  }
}

extension VmoInfo: WireTable {
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    var bufferCollectionID: UInt64?
    var bufferIndex: UInt64?
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: bufferCollectionID = try decoder.field(field, "buffer_collection_id")
      case 2: bufferIndex = try decoder.field(field, "buffer_index")
      default: try decoder.skip(field)
      }
    }
    self.init(
      bufferCollectionID: try table.required(bufferCollectionID, "buffer_collection_id"),
      bufferIndex: try table.required(bufferIndex, "buffer_index"))
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.field(1, bufferCollectionID)
    encoder.field(2, bufferIndex)
  }
}
