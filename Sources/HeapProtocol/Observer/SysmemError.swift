/// `fuchsia.sysmem2/Error`. Unknown numbers are kept.
public struct SysmemError: RawRepresentable, Hashable, Sendable {
  /// As in the message.
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// None of the others.
  public static let unspecified = SysmemError(rawValue: 1)
  /// The caller broke the protocol's rules.
  public static let protocolDeviation = SysmemError(rawValue: 2)
  /// The vmo is no buffer of the server's.
  public static let notFound = SysmemError(rawValue: 3)
  /// The handle has too few rights.
  public static let handleAccessDenied = SysmemError(rawValue: 4)
  /// The server is short of memory.
  public static let noMemory = SysmemError(rawValue: 5)
}

extension SysmemError: WireValue {
  static var byteCount: Int { UInt32.byteCount }

  init(from decoder: inout WireDecoder, at offset: Int) {
    self.init(rawValue: UInt32(from: &decoder, at: offset))
  }

  func encode(to encoder: inout WireEncoder, at offset: Int) {
    rawValue.encode(to: &encoder, at: offset)
  }
}
