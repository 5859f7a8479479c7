internal import CV4L2

/// What the frames of a queue are.
public struct VideoFormat: Hashable, Sendable, CustomStringConvertible {
  public let width: Int
  public let height: Int
  public let pixelFormat: VideoFourCC
  /// Of the first plane.
  public let bytesPerLine: Int
  /// The least that a buffer must have.
  public let byteCount: UInt64
  /// How a frame's lines come.
  public internal(set) var field = VideoField(rawValue: V4L2_FIELD_NONE.rawValue)
  /// Buffers for each frame: more than 1 only where an `M` format puts each plane into its own.
  public let buffersPerFrame: Int

  /// E.g. `1280x720 XR24`, or `720x576 YUYV interlaced`.
  public var description: String {
    "\(width)x\(height) \(pixelFormat)" + (field.isInterlaced ? " \(field)" : "")
  }
}

/// `enum v4l2_field`: in which order the lines of a frame come.
public struct VideoField: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Whether what is in a buffer is not one picture, line after line: every other line is of another moment, in the same buffer or
  /// in the next.
  public var isInterlaced: Bool { rawValue > V4L2_FIELD_NONE.rawValue }

  /// `progressive`; `interlaced`: both fields' lines in turn; `top`, `bottom`, `alternate`: one field in each buffer;
  /// `sequential`: one field after the other.
  public var description: String {
    switch rawValue {
    case V4L2_FIELD_ANY.rawValue, V4L2_FIELD_NONE.rawValue: "progressive"
    case V4L2_FIELD_TOP.rawValue: "top"
    case V4L2_FIELD_BOTTOM.rawValue: "bottom"
    case V4L2_FIELD_ALTERNATE.rawValue: "alternate"
    case V4L2_FIELD_SEQ_TB.rawValue, V4L2_FIELD_SEQ_BT.rawValue: "sequential"
    default: "interlaced"
    }
  }
}

extension VideoFormat {
  init(_ image: CV4L2_image) {
    self.init(
      width: Int(image.width), height: Int(image.height),
      pixelFormat: VideoFourCC(rawValue: image.pixel_format),
      bytesPerLine: Int(image.bytes_per_line), byteCount: UInt64(image.size),
      field: VideoField(rawValue: image.field), buffersPerFrame: Int(image.planes))
  }
}

/// A pixel format's code in V4L2 (linux/videodev2.h). DRM's codes look alike but differ: what V4L2 calls
/// `RGB3` is DRM's `BG24`.
public struct VideoFourCC: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
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

  /// `V4L2_PIX_FMT_XBGR32`: blue, green, red, and an ignored byte.
  public static let xr24 = VideoFourCC(Array("XR24".utf8))
  /// `V4L2_PIX_FMT_ABGR32`: blue, green, red, alpha.
  public static let ar24 = VideoFourCC(Array("AR24".utf8))
  /// `V4L2_PIX_FMT_RGB24`: red, green, blue.
  public static let rgb3 = VideoFourCC(Array("RGB3".utf8))
  /// `V4L2_PIX_FMT_BGR24`: blue, green, red.
  public static let bgr3 = VideoFourCC(Array("BGR3".utf8))
  /// `V4L2_PIX_FMT_RGB565`, little-endian.
  public static let rgbp = VideoFourCC(Array("RGBP".utf8))
  /// `V4L2_PIX_FMT_YUYV`.
  public static let yuyv = VideoFourCC(Array("YUYV".utf8))
  /// `V4L2_PIX_FMT_UYVY`.
  public static let uyvy = VideoFourCC(Array("UYVY".utf8))
  /// `V4L2_PIX_FMT_NV12`.
  public static let nv12 = VideoFourCC(Array("NV12".utf8))
  /// `V4L2_PIX_FMT_GREY`.
  public static let grey = VideoFourCC(Array("GREY".utf8))

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
