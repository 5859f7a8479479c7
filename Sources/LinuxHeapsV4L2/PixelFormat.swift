/// A pixel format's code in V4L2 (linux/videodev2.h). The codes of DRM look alike and are others: what
/// V4L2 calls `RGB3` is DRM's `BG24`.
public struct PixelFormat: RawRepresentable, Hashable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Of up to four characters, e.g. `XR24`; nil for more, or for what is not ASCII.
  public init?(_ name: String) {
    let bytes = Array(name.utf8)
    guard (1...4).contains(bytes.count), bytes.allSatisfy({ (0x20..<0x7F).contains($0) }) else {
      return nil
    }
    self.init(bytes + [UInt8](repeating: 0x20, count: 4 - bytes.count))
  }

  private init(_ bytes: [UInt8]) {
    rawValue = bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// `V4L2_PIX_FMT_XBGR32`: blue, green, red, and a byte of no meaning.
  public static let xr24 = PixelFormat(Array("XR24".utf8))
  /// `V4L2_PIX_FMT_ABGR32`: blue, green, red, alpha.
  public static let ar24 = PixelFormat(Array("AR24".utf8))
  /// `V4L2_PIX_FMT_RGB24`: red, green, blue.
  public static let rgb3 = PixelFormat(Array("RGB3".utf8))
  /// `V4L2_PIX_FMT_BGR24`: blue, green, red.
  public static let bgr3 = PixelFormat(Array("BGR3".utf8))
  /// `V4L2_PIX_FMT_RGB565`, little-endian.
  public static let rgbp = PixelFormat(Array("RGBP".utf8))
  /// `V4L2_PIX_FMT_YUYV`.
  public static let yuyv = PixelFormat(Array("YUYV".utf8))
  /// `V4L2_PIX_FMT_UYVY`.
  public static let uyvy = PixelFormat(Array("UYVY".utf8))
  /// `V4L2_PIX_FMT_NV12`.
  public static let nv12 = PixelFormat(Array("NV12".utf8))
  /// `V4L2_PIX_FMT_GREY`.
  public static let grey = PixelFormat(Array("GREY".utf8))
}

extension PixelFormat: CustomStringConvertible {
  /// Its four characters, without trailing blanks.
  public var description: String {
    // Bit 31 says big-endian (`v4l2_fourcc_be`).
    let code = rawValue & 0x7FFF_FFFF
    let bytes = (0..<4).map { UInt8(truncatingIfNeeded: code >> (8 * $0)) }
    let name = String(decoding: bytes.map { (0x20..<0x7F).contains($0) ? $0 : 0x3F }, as: UTF8.self)
    let trimmed = String(name.reversed().drop { $0 == " " }.reversed())
    return rawValue == code ? trimmed : "\(trimmed)-BE"
  }
}
