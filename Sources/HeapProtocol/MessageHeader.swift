/// The first 16 bytes of each message: transaction ID, flags, magic number, ordinal.
public struct MessageHeader: Hashable, Sendable {
  /// Bytes.
  public static let byteCount = 16

  /// 0 in an event and in an epitaph; else a reply has the number of its request.
  public var transactionID: UInt32
  /// Whether a receiver that does not know the ordinal answers or ignores the message, rather than
  /// closing the channel.
  public var isFlexible: Bool
  /// Which message this is.
  public var ordinal: MessageOrdinal

  package init(transactionID: UInt32, ordinal: MessageOrdinal, isFlexible: Bool = false) {
    self.transactionID = transactionID
    self.isFlexible = isFlexible
    self.ordinal = ordinal
  }

  /// Reads a message's header. Any ordinal and any transaction ID will do.
  ///
  /// The dynamic flags that have no meaning yet are ignored.
  /// - Throws: When the message is shorter than a header or longer than ``WireLimits/maxBytes``, when
  ///   the magic number is not 1, and when the flags name another format than version 2.
  public init(decoding message: RawSpan) throws(WireError) {
    let count = message.byteCount
    guard count <= WireLimits.maxBytes else {
      throw WireError(.tooManyBytes, at: WireLimits.maxBytes, in: "message")
    }
    guard count >= Self.byteCount else { throw WireError(.truncated, at: 0, in: "header") }
    let word = message.number(at: 0) as UInt64
    guard UInt16(truncatingIfNeeded: word >> 32) == Self.atRestFlags else {
      throw WireError(.wrongAtRestFlags, at: 4, in: "at_rest_flags")
    }
    guard UInt8(truncatingIfNeeded: word >> 56) == Self.magic else {
      throw WireError(.wrongMagic, at: 7, in: "magic_number")
    }
    transactionID = UInt32(truncatingIfNeeded: word)
    isFlexible = UInt8(truncatingIfNeeded: word >> 48) & Self.flexible != 0
    ordinal = MessageOrdinal(rawValue: message.number(at: 8))
  }

  /// The two bytes 02 00: wire format version 2.
  private static let atRestFlags: UInt16 = 2
  private static let flexible: UInt8 = 0x80
  private static let magic: UInt8 = 1

  /// Its bytes, as two little-endian numbers.
  var words: (UInt64, UInt64) {
    let flags = UInt64(Self.atRestFlags) | UInt64(isFlexible ? Self.flexible : 0) << 16
    return (
      UInt64(transactionID) | flags << 32 | UInt64(Self.magic) << 56, ordinal.rawValue
    )
  }
}

/// Which method, event or epitaph a message belongs to.
///
/// A number is made from a name: the first eight bytes of its SHA-256, little-endian, without the
/// top bit. Numbers that this package does not know are kept, to answer or to report them.
public struct MessageOrdinal: RawRepresentable, Hashable, Sendable {
  /// As in the header.
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// `fuchsia.hardware.sysmem/Heap.AllocateVmo`
  public static let allocateVmo = MessageOrdinal(rawValue: 0x5fb4_1a7c_a22c_2a64)
  /// `fuchsia.hardware.sysmem/Heap.DeleteVmo`
  public static let deleteVmo = MessageOrdinal(rawValue: 0x4c13_7038_9811_2c92)
  /// `fuchsia.hardware.sysmem/Heap.OnRegister`
  public static let onRegister = MessageOrdinal(rawValue: 0x364b_3939_0a96_6fc5)
  /// `linuxheaps/Heap.WatchBuffers`
  public static let watchBuffers = MessageOrdinal(rawValue: 0x11df_be4f_e891_d39a)
  /// `linuxheaps/Heap.OnReclaimed`
  public static let onReclaimed = MessageOrdinal(rawValue: 0x5c9a_558e_2de4_15bf)
  /// `linuxheaps/Heap.AllocateVmoFrom`
  public static let allocateVmoFrom = MessageOrdinal(rawValue: 0x63bd_efe7_2dca_7eb0)
  /// `fuchsia.sysmem2/Allocator.GetVmoInfo`
  public static let getVmoInfo = MessageOrdinal(rawValue: 0x21a8_8112_0aa0_ddf9)
  /// `linuxheaps/Observer.AttachLifetimeTracking`
  public static let attachLifetimeTracking = MessageOrdinal(rawValue: 0x37cd_2436_3f80_63a4)
  /// `linuxheaps/Observer.AwaitReclaimed`
  public static let awaitReclaimed = MessageOrdinal(rawValue: 0x33f4_4999_d227_e2c2)
  /// `linuxheaps/Observer.GetStatus`
  public static let getStatus = MessageOrdinal(rawValue: 0x0301_9d14_6e45_8521)
  /// A server's last message; made from no name.
  public static let epitaph = MessageOrdinal(rawValue: .max)
}

extension MessageOrdinal: CustomStringConvertible {
  private static let names: [Self: String] = [
    .allocateVmo: "AllocateVmo", .deleteVmo: "DeleteVmo", .onRegister: "OnRegister",
    .watchBuffers: "WatchBuffers", .onReclaimed: "OnReclaimed",
    .allocateVmoFrom: "AllocateVmoFrom", .getVmoInfo: "GetVmoInfo",
    .attachLifetimeTracking: "AttachLifetimeTracking", .awaitReclaimed: "AwaitReclaimed",
    .getStatus: "GetStatus", .epitaph: "epitaph",
  ]

  /// The method's name; the number in hexadecimal where it is not known.
  public var description: String {
    Self.names[self] ?? "0x" + String(rawValue, radix: 16)
  }
}

/// What no message may exceed.
public enum WireLimits {
  /// Bytes of a message, with its header.
  public static let maxBytes = 65_536
  /// Handles that travel with a message.
  public static let maxHandles = 64
  /// Objects inside one another that are not in line: a table's envelopes, what an envelope holds,
  /// a vector's elements, a string's characters.
  public static let maxDepth = 32
}
