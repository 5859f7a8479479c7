internal import CDRM
internal import Glibc

/// How a device lays pixels out in memory: row after row, or in its own tiles (drm_fourcc.h).
public struct FormatModifier: RawRepresentable, Hashable, Sendable {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// `DRM_FORMAT_MOD_LINEAR`: row after row.
  public static let linear = FormatModifier(rawValue: 0)
  /// `DRM_FORMAT_MOD_INVALID`: not told.
  public static let invalid = FormatModifier(rawValue: 0x00ff_ffff_ffff_ffff)
}

extension FormatModifier: CustomStringConvertible {
  /// libdrm's name, with the vendor's before it; the number of one that it does not know.
  public var description: String {
    guard let name = unsafe Self.text(drmGetFormatModifierName(rawValue)) else {
      return "0x" + String(rawValue, radix: 16)
    }
    guard let vendor = unsafe Self.text(drmGetFormatModifierVendor(rawValue)), vendor != "NONE"
    else { return name }
    return "\(vendor)_\(name)"
  }

  private static func text(_ name: UnsafeMutablePointer<CChar>?) -> String? {
    guard let name = unsafe name else { return nil }
    defer { unsafe free(name) }
    return unsafe String(cString: name)
  }
}
