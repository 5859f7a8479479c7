/// A handle's place among those that travelled with its message, from 0.
///
/// Handles go beside the bytes, in the order in which the message mentions them. Encoding writes no
/// number, only that there is a handle: each message of these protocols mentions at most one, so
/// what goes with an encoded message is that one.
public struct HandleIndex: RawRepresentable, Hashable, Sendable {
  /// Counts from 0.
  public let rawValue: Int
  public init(rawValue: Int) { self.rawValue = rawValue }

  /// The only handle, where a message mentions one.
  public static let first = HandleIndex(rawValue: 0)
}

extension HandleIndex: WireValue {
  static var byteCount: Int { 4 }
  private static let present = UInt32.max

  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    switch decoder.number(at: offset, as: UInt32.self) {
    case Self.present: self = try decoder.takeHandle(at: offset)
    case 0: throw WireError(.unexpectedNull, at: offset)
    default: throw WireError(.invalidPresence, at: offset)
    }
  }

  func encode(to encoder: inout WireEncoder, at offset: Int) {
    encoder.put(Self.present, at: offset)
    encoder.countHandle()
  }
}
