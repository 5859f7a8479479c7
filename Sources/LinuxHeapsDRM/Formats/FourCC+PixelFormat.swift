public import LinuxHeaps

extension FourCC {
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
