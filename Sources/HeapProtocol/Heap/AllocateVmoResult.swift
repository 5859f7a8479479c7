/// The reply to an ``AllocateVmoRequest``.
public enum AllocateVmoResult: Hashable, Sendable {
  /// The buffer.
  case vmo(HandleIndex)
  /// Why there is none: a `zx.Status`.
  case status(Int32)

  /// Reads a whole message, with its header; `handleCount` handles came with it.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .allocateVmo)
    self = try decoder.body()
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message. The vmo, if there is one, goes with it.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(transactionID: transactionID, ordinal: .allocateVmo)
    WireEncoder.write(header, body: self, into: &buffer)
  }
}

extension AllocateVmoResult: WireValue {
  static var byteCount: Int { 16 }

  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    let member = try decoder.union(at: offset)
    switch member.ordinal {
    case 1: self = .vmo(try decoder.field(member, "response.vmo"))
    case 2: self = .status(try decoder.field(member, "err"))
    default: throw WireError(.unknownMember, at: offset)
    }
  }

  func encode(to encoder: inout WireEncoder, at offset: Int) {
    switch self {
    case .vmo(let vmo): encoder.union(1, vmo, at: offset)
    case .status(let status): encoder.union(2, status, at: offset)
    }
  }
}
