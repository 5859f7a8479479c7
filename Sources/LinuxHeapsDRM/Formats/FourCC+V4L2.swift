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
}
