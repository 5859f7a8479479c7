internal import CDRM
internal import CLibrary
public import LinuxHeaps

/// A pixel format by its four letters, as drm_fourcc.h numbers them.
///
/// V4L2 has the same numbers for most formats; ``init(v4l2:)`` translates the others.
public struct FourCC: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Four ASCII characters, or fewer, then filled up with spaces: `XR24`, `NV12`, `R8`.
  public init?(_ name: String) {
    let letters = Array(name.utf8)
    guard (1...4).contains(letters.count), letters.allSatisfy({ (0x20..<0x7f).contains($0) }) else {
      return nil
    }
    let filled = letters + Array(repeating: UInt8(ascii: " "), count: 4 - letters.count)
    rawValue = filled.reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// `DRM_FORMAT_XRGB8888`: bytes B, G, R and one that is ignored.
  public static let xr24 = FourCC(literal: "XR24")
  /// `DRM_FORMAT_ARGB8888`: bytes B, G, R, A.
  public static let ar24 = FourCC(literal: "AR24")
  /// `DRM_FORMAT_XBGR8888`: bytes R, G, B and one that is ignored.
  public static let xb24 = FourCC(literal: "XB24")
  /// `DRM_FORMAT_ABGR8888`: bytes R, G, B, A.
  public static let ab24 = FourCC(literal: "AB24")
  /// `DRM_FORMAT_RGB565`.
  public static let rg16 = FourCC(literal: "RG16")
  /// `DRM_FORMAT_RGB888`: bytes B, G, R.
  public static let rg24 = FourCC(literal: "RG24")
  /// `DRM_FORMAT_NV12`: a plane of Y, one of Cb and Cr for each 2x2 pixels.
  public static let nv12 = FourCC(literal: "NV12")
  /// `DRM_FORMAT_YUYV`: bytes Y, Cb, Y, Cr for two pixels.
  public static let yuyv = FourCC(literal: "YUYV")

  private init(literal: StaticString) {
    guard let value = FourCC("\(literal)") else { preconditionFailure("\(literal) is no FourCC") }
    self = value
  }

  /// libdrm's name, e.g. `XR24`.
  public var description: String {
    guard let name = unsafe text(drmGetFormatName(rawValue)) else { return "\(rawValue)" }
    return String(name.reversed().drop { $0 == " " }.reversed())
  }
}

/// A text that libdrm allocated, which is freed.
private func text(_ name: UnsafeMutablePointer<CChar>?) -> String? {
  guard let name = unsafe name else { return nil }
  defer { unsafe free(name) }
  return unsafe String(cString: name)
}

extension FourCC {
  /// The same bytes by V4L2's number (linux/videodev2.h); the number itself where both agree, or where
  /// DRM has none.
  ///
  /// Multi-planar formats are those of planes in one buffer here. Nil for a number that stands for other
  /// bytes in DRM: `V4L2_PIX_FMT_SRGGB16`, of raw sensors, is the number of DRM's RGB565.
  public init?(v4l2 number: UInt32) {
    let own = FourCC(rawValue: number)
    if Self.otherInV4L2.contains(own) { return nil }
    self = Self.fromV4L2[own] ?? own
  }

  /// `SRGGB16`, `SGRBG12`, `AYUV32` and `XYUV32` there.
  private static let otherInV4L2 = Set(["RG16", "BA12", "AYUV", "XYUV"].map { FourCC($0) })

  private static let fromV4L2: [FourCC: FourCC] = {
    let names = [
      // V4L2 names the bytes in memory, DRM the bits of a little-endian word.
      ("RGB3", "BG24"), ("BGR3", "RG24"), ("RGBP", "RG16"), ("RGB4", "BA24"), ("BGR4", "AR24"),
      ("GREY", "R8"), ("Y16", "R16"), ("422P", "YU16"),
      ("NM12", "NV12"), ("NM21", "NV21"), ("NM16", "NV16"), ("NM61", "NV61"), ("YM12", "YU12"),
      ("YM21", "YV12"), ("YM16", "YU16"), ("YM61", "YV16"), ("YM24", "YU24"), ("YM42", "YV24"),
    ]
    var table: [FourCC: FourCC] = [:]
    for case (let v4l2?, let drm?) in names.map({ (FourCC($0), FourCC($1)) }) { table[v4l2] = drm }
    return table
  }()

  /// The same format by sysmem's number (fuchsia.images2/PixelFormat); nil for one that is not in the
  /// table here, though DRM may have it.
  public init?(_ format: PixelFormat) {
    guard let name = Self.names[format.rawValue] else { return nil }
    self.init(name)
  }

  /// sysmem's names give the bytes in memory, DRM's the bits of a little-endian word.
  private static let names: [UInt32: String] = [
    1: "AB24",  // R8G8B8A8
    101: "AR24",  // BGRA32
    102: "YU12",  // I420
    104: "NV12",
    105: "YUYV",  // YUY2
    107: "YV12",
    108: "RG24",  // BGR24
    109: "RG16",  // RGB565
    112: "R8",  // L8
    113: "R8",
    114: "GR88",  // R8G8
  ]
}

/// How a device lays pixels out in memory: row after row, or in its own tiles (drm_fourcc.h).
public struct FormatModifier: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// `DRM_FORMAT_MOD_LINEAR`: row after row.
  public static let linear = FormatModifier(rawValue: 0)
  /// `DRM_FORMAT_MOD_INVALID`: not told.
  public static let invalid = FormatModifier(rawValue: 0x00ff_ffff_ffff_ffff)

  /// libdrm's name, with the vendor's before it; the number of one that it does not know.
  public var description: String {
    guard let name = unsafe text(drmGetFormatModifierName(rawValue)) else {
      return "0x" + String(rawValue, radix: 16)
    }
    guard let vendor = unsafe text(drmGetFormatModifierVendor(rawValue)), vendor != "NONE"
    else { return name }
    return "\(vendor)_\(name)"
  }
}
