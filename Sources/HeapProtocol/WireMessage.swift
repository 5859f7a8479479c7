/// A whole message, header and body.
public protocol WireMessage: Hashable, Sendable {
  /// Reads a whole message, with its header. Fields that are not known here are passed over.
  ///
  /// - Parameters:
  ///   - message: Its bytes, from the header on.
  ///   - handleCount: How many handles came with it; there may be some in fields that are not known
  ///     here.
  /// - Throws: What is malformed, where; also another message's ordinal, and an absent field without
  ///   which the message means nothing.
  init(decoding message: RawSpan, handleCount: Int) throws(WireError)

  /// Replaces what `buffer` holds with the message. The handle that it mentions, if any, goes with it.
  ///
  /// Traps where settings exceed a bound: a heap type of more than 128 bytes, more than 32 color
  /// spaces, more than 64 formats or sizes.
  /// - Parameters:
  ///   - transactionID: Of a request, any but 0 that is not in use; of a reply, its request's; of
  ///     events and epitaphs, 0.
  ///   - buffer: Its capacity is used again.
  func encode(transactionID: UInt32, into buffer: inout [UInt8])
}

/// A message whose body is the value itself.
protocol WireBody: WireMessage, WireValue {
  static var ordinal: MessageOrdinal { get }
  static var isFlexible: Bool { get }
}

extension WireBody {
  static var isFlexible: Bool { false }

  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    self.init()
    var coder = try WireCoder(reading: message, handleCount: handleCount, of: Self.ordinal)
    try coder.body(&self)
    try coder.finish()
  }

  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    do throws(WireError) { try checkedEncode(transactionID: transactionID, into: &buffer) } catch {
      fatalError("a message that cannot be written: \(error)")
    }
  }

  func checkedEncode(transactionID: UInt32, into buffer: inout [UInt8]) throws(WireError) {
    let header = MessageHeader(
      transactionID: transactionID, ordinal: Self.ordinal, isFlexible: Self.isFlexible)
    try WireCoder.write(header, self, into: &buffer)
  }
}
