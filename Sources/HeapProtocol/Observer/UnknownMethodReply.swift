/// The reply to a flexible two-way method that the server does not know.
///
/// Its caller decodes it as the reply that it waits for, and finds a
/// ``FlexibleResult/frameworkError(_:)``.
public struct UnknownMethodReply: Hashable, Sendable {
  /// The request's.
  public var ordinal: MessageOrdinal

  public init(to ordinal: MessageOrdinal) { self.ordinal = ordinal }

  /// `ZX_ERR_NOT_SUPPORTED`
  private static let notSupported: Int32 = -2

  /// Replaces what `buffer` holds with the message. No handle goes with it.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(transactionID: transactionID, ordinal: ordinal, isFlexible: true)
    let result = FlexibleResult<EmptyTable, Int32>.frameworkError(Self.notSupported)
    WireEncoder.write(header, body: result, into: &buffer)
  }
}
