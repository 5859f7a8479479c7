internal import CV4L2

/// What the frames of a queue are.
public struct VideoFormat: Hashable, Sendable {
  public let width: Int
  public let height: Int
  public let pixelFormat: VideoFourCC
  /// Of the first plane.
  public let bytesPerLine: Int
  /// What a buffer must have at least.
  public let byteCount: UInt64
  /// Buffers for each frame: more than 1 only where an `M` format puts each plane into its own.
  public let buffersPerFrame: Int
}

extension VideoFormat {
  init(_ image: CV4L2_image) {
    self.init(
      width: Int(image.width), height: Int(image.height),
      pixelFormat: VideoFourCC(rawValue: image.pixel_format),
      bytesPerLine: Int(image.bytes_per_line), byteCount: UInt64(image.size),
      buffersPerFrame: Int(image.planes))
  }
}

extension VideoFormat: CustomStringConvertible {
  /// E.g. `1280x720 XR24`.
  public var description: String { "\(width)x\(height) \(pixelFormat)" }
}
