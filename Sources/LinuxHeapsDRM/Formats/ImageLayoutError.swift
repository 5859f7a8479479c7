public import LinuxHeaps

/// Why an image cannot be laid out.
public enum ImageLayoutError: Error, Hashable, Sendable {
  /// The format's bytes are not known here.
  case unknownFormat(FourCC)
  /// The constraints name no format that DRM has.
  case noFormat
  /// The constraints name formats, and this is none of them.
  case formatNotAllowed(FourCC)
  /// Only the linear layout can be computed.
  case notLinear(FormatModifier)
  /// Width or height is 0.
  case empty(SizeU)
  /// A size alignment or a divisor is 0.
  case zeroAlignment
  /// The size, aligned, is above the constraints' maximum.
  case tooLarge(SizeU, atMost: SizeU)
  /// Width times height, aligned, is above the constraints' maximum.
  case tooManyPixels(UInt64, atMost: UInt64)
  /// The shortest row that fits is longer than the constraints' maximum, or than the row asked for.
  case rowTooLong(UInt64, atMost: UInt64)
  /// The row asked for is no multiple of what the format and the constraints need.
  case rowNotAligned(UInt64, to: UInt64)
  /// A number is above what the kernel's 32 bits of a row, or 64 bits of a size, can say.
  case overflow
}

extension ImageLayoutError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .unknownFormat(let format): "the layout of format \(format) is not known"
    case .noFormat: "the constraints name no format that DRM has"
    case .formatNotAllowed(let format): "the constraints do not allow format \(format)"
    case .notLinear(let modifier): "modifier \(modifier) is not linear"
    case .empty(let size): "\(size.width)x\(size.height) has no pixels"
    case .zeroAlignment: "an alignment or a divisor is 0"
    case .tooLarge(let size, let limit):
      "\(size.width)x\(size.height) is larger than \(limit.width)x\(limit.height)"
    case .tooManyPixels(let count, let limit): "\(count) pixels are more than \(limit)"
    case .rowTooLong(let row, let limit): "a row takes \(row) bytes, more than \(limit)"
    case .rowNotAligned(let row, let divisor): "a row of \(row) bytes is no multiple of \(divisor)"
    case .overflow: "the image is too large for the kernel's numbers"
    }
  }
}
