/// `linuxheaps/Observer.AwaitReclaimed`: answer when a buffer is reclaimed.
///
/// The reply is an ``AwaitReclaimedReply``.
public struct AwaitReclaimedRequest: Hashable, Sendable {
  /// The buffer's vmo, or one made from it.
  public var vmo: HandleIndex

  public init(vmo: HandleIndex = .first) { self.vmo = vmo }

  /// Reads a whole message, with its header; `handleCount` handles came with it.
  ///
  /// Throws when the vmo is absent.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .awaitReclaimed)
    self = try decoder.body()
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message. The vmo goes with it.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(
      transactionID: transactionID, ordinal: .awaitReclaimed, isFlexible: true)
    WireEncoder.write(header, body: self, into: &buffer)
  }
}

extension AwaitReclaimedRequest: WireTable {
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    var vmo: HandleIndex?
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: vmo = try decoder.field(field, "vmo")
      default: try decoder.skip(field)
      }
    }
    self.init(vmo: try table.required(vmo, "vmo"))
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.field(1, vmo)
  }
}
