/// `linuxheaps/Observer.AttachLifetimeTracking`: close a handle when a collection's buffers are gone.
///
/// The reply is an ``AttachLifetimeTrackingReply``.
public struct AttachLifetimeTrackingRequest: Hashable, Sendable {
  /// Closed when all but ``buffersRemaining`` buffers are reclaimed.
  public var serverEnd: HandleIndex
  /// 0 for: when the last one is reclaimed.
  public var buffersRemaining: UInt32
  /// Which collection's buffers count.
  public var bufferCollectionID: UInt64

  public init(
    serverEnd: HandleIndex = .first, buffersRemaining: UInt32, bufferCollectionID: UInt64
  ) {
    self.serverEnd = serverEnd
    self.buffersRemaining = buffersRemaining
    self.bufferCollectionID = bufferCollectionID
  }

  /// Reads a whole message, with its header; `handleCount` handles came with it.
  ///
  /// Throws when a field is absent.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .attachLifetimeTracking)
    self = try decoder.body()
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message. The server end goes with it.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(
      transactionID: transactionID, ordinal: .attachLifetimeTracking, isFlexible: true)
    WireEncoder.write(header, body: self, into: &buffer)
  }
}

extension AttachLifetimeTrackingRequest: WireTable {
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    var serverEnd: HandleIndex?
    var buffersRemaining: UInt32?
    var bufferCollectionID: UInt64?
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: serverEnd = try decoder.field(field, "server_end")
      case 2: buffersRemaining = try decoder.field(field, "buffers_remaining")
      case 3: bufferCollectionID = try decoder.field(field, "buffer_collection_id")
      default: try decoder.skip(field)
      }
    }
    self.init(
      serverEnd: try table.required(serverEnd, "server_end"),
      buffersRemaining: try table.required(buffersRemaining, "buffers_remaining"),
      bufferCollectionID: try table.required(bufferCollectionID, "buffer_collection_id"))
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.field(1, serverEnd)
    encoder.field(2, buffersRemaining)
    encoder.field(3, bufferCollectionID)
  }
}
