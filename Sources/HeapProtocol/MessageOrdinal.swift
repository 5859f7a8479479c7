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
    .getVmoInfo: "GetVmoInfo", .attachLifetimeTracking: "AttachLifetimeTracking",
    .awaitReclaimed: "AwaitReclaimed", .getStatus: "GetStatus", .epitaph: "epitaph",
  ]

  /// The method's name; the number in hexadecimal where it is not known.
  public var description: String {
    Self.names[self] ?? "0x" + String(rawValue, radix: 16)
  }
}
