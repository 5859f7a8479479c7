internal import CDRM
internal import Glibc

/// A pixel format by its four letters, as drm_fourcc.h numbers them.
///
/// V4L2 has the same numbers for most formats: ``init(v4l2:)`` knows the others.
public struct FourCC: RawRepresentable, Hashable, Sendable {
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

  /// `DRM_FORMAT_XRGB8888`: bytes B, G, R and one that nobody looks at.
  public static let xr24 = FourCC(literal: "XR24")
  /// `DRM_FORMAT_ARGB8888`: bytes B, G, R, A.
  public static let ar24 = FourCC(literal: "AR24")
  /// `DRM_FORMAT_XBGR8888`: bytes R, G, B and one that nobody looks at.
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

  init(literal: StaticString) {
    guard let value = FourCC("\(literal)") else { preconditionFailure("\(literal) is no FourCC") }
    self = value
  }
}

extension FourCC: CustomStringConvertible {
  /// libdrm's name, e.g. `XR24`.
  public var description: String {
    guard let name = unsafe drmGetFormatName(rawValue) else { return "\(rawValue)" }
    defer { unsafe free(name) }
    return unsafe String(String(cString: name).reversed().drop { $0 == " " }.reversed())
  }
}
