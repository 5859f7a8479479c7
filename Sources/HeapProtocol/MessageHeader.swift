/// The first 16 bytes of each message: transaction ID, flags, magic number, ordinal.
public struct MessageHeader: Hashable, Sendable {
  /// Bytes.
  public static let byteCount = 16

  /// 0 in an event and in an epitaph; else a reply has the number of its request.
  public var transactionID: UInt32
  /// Whether a receiver that does not know the ordinal answers or ignores the message, rather than
  /// closing the channel.
  public var isFlexible: Bool
  /// Decides as what the message is decoded.
  public var ordinal: MessageOrdinal

  public init(transactionID: UInt32, ordinal: MessageOrdinal, isFlexible: Bool = false) {
    self.transactionID = transactionID
    self.isFlexible = isFlexible
    self.ordinal = ordinal
  }

  /// Reads a message's header. Any ordinal and any transaction ID will do.
  ///
  /// Throws when the message is shorter than a header or longer than ``WireLimits/maxBytes``, when
  /// the magic number is not 1, and when the flags name another format than version 2. The dynamic
  /// flags that have no meaning yet are ignored.
  public init(decoding message: RawSpan) throws(WireError) {
    let count = message.byteCount
    guard count <= WireLimits.maxBytes else {
      throw WireError(.tooManyBytes, at: WireLimits.maxBytes, in: "message")
    }
    guard count >= Self.byteCount else { throw WireError(.truncated, at: 0, in: "header") }
    let word = message.number(at: 0, as: UInt64.self)
    guard UInt16(truncatingIfNeeded: word >> 32) == Self.atRestFlags else {
      throw WireError(.wrongAtRestFlags, at: 4, in: "at_rest_flags")
    }
    guard UInt8(truncatingIfNeeded: word >> 56) == Self.magic else {
      throw WireError(.wrongMagic, at: 7, in: "magic_number")
    }
    transactionID = UInt32(truncatingIfNeeded: word)
    isFlexible = UInt8(truncatingIfNeeded: word >> 48) & Self.flexible != 0
    ordinal = MessageOrdinal(rawValue: message.number(at: 8, as: UInt64.self))
  }

  /// The two bytes 02 00: wire format version 2.
  private static let atRestFlags: UInt16 = 2
  private static let flexible: UInt8 = 0x80
  private static let magic: UInt8 = 1

  func encode(to encoder: inout WireEncoder) {
    let flags = UInt64(Self.atRestFlags) | UInt64(isFlexible ? Self.flexible : 0) << 16
    encoder.put(
      UInt64(transactionID) | flags << 32 | UInt64(Self.magic) << 56, at: 0)
    encoder.put(ordinal.rawValue, at: 8)
  }
}
