public import LinuxHeaps

/// Where the pixels of a linear image lie in a buffer.
public struct ImageLayout: Hashable, Sendable {
  public struct Plane: Hashable, Sendable {
    /// Bytes from the image's start.
    public let offset: UInt64
    public let bytesPerRow: UInt32
    public let rows: UInt32
  }

  public let format: FourCC
  /// In pixels, as asked for.
  public let size: SizeU
  /// In pixels, with what the constraints add on the right and below.
  public let codedSize: SizeU
  /// One after the other.
  public let planes: [Plane]
  /// What a buffer must hold, not rounded to pages.
  public let byteCount: UInt64

  /// Lays an image of the constraints' own format out.
  public init(size: SizeU, constraints: ImageFormatConstraints) throws(ImageLayoutError) {
    guard let format = constraints.formats?.lazy.compactMap({ FourCC($0) }).first else {
      throw .noFormat
    }
    try self.init(format, size: size, constraints: constraints)
  }

  /// Lays an image out as sysmem does: the planes follow each other without gaps, the rows of the later
  /// ones have the first one's length, scaled.
  ///
  /// An odd width is rounded up within the row where pixels share their colour; an odd height only
  /// in the planes that do, as DRM and V4L2 have it.
  /// - Parameters:
  ///   - format: One of the linear RGB, grey and YUV formats of drm_fourcc.h.
  ///   - size: In pixels.
  ///   - constraints: What a device needs; fields that are about negotiation are not looked at.
  ///   - bytesPerRow: The first plane's exact row, where a device has chosen it already.
  public init(
    _ format: FourCC, size: SizeU, constraints: ImageFormatConstraints = ImageFormatConstraints(),
    bytesPerRow: UInt32? = nil
  ) throws(ImageLayoutError) {
    guard let groups = PixelGroups(format) else { throw .unknownFormat(format) }
    guard size.width > 0, size.height > 0 else { throw .empty(size) }
    try constraints.check(format)
    let coded = try constraints.codedSize(of: size)
    let padded = try coded.rounded(to: constraints.padForBlockSize)
    let row = try constraints.bytesPerRow(
      groups, width: UInt64(padded.width), exactly: bytesPerRow.map { UInt64($0) })

    self.format = format
    self.size = size
    codedSize = coded
    planes = try groups.planes(row: row, height: UInt64(coded.height))
    // A device may write whole blocks: bytes behind the last row, not between the planes.
    let filled = try groups.planes(row: row, height: UInt64(padded.height))
    guard let last = filled.last else { throw .overflow }
    byteCount = try last.offset
      .adding(UInt64(last.bytesPerRow) * UInt64(last.rows))
      .adding(constraints.padBeyondImageSizeBytes ?? 0)
  }
}

extension ImageFormatConstraints {
  /// Nil where none is named.
  fileprivate var formats: [PixelFormat]? {
    let all =
      (pixelFormat.map { [$0] } ?? []) + (pixelFormatAndModifiers ?? []).map(\.pixelFormat)
    return all.isEmpty ? nil : all
  }

  fileprivate func check(_ format: FourCC) throws(ImageLayoutError) {
    if let formats, !formats.contains(where: { FourCC($0) == format }) {
      throw .formatNotAllowed(format)
    }
    if let modifier = pixelFormatModifier, modifier.rawValue != FormatModifier.linear.rawValue {
      throw .notLinear(FormatModifier(rawValue: modifier.rawValue))
    }
    if let all = pixelFormatAndModifiers,
      let other = all.first(where: { FourCC($0.pixelFormat) == format })?.pixelFormatModifier,
      !all.contains(where: {
        FourCC($0.pixelFormat) == format
          && $0.pixelFormatModifier.rawValue == FormatModifier.linear.rawValue
      })
    {
      throw .notLinear(FormatModifier(rawValue: other.rawValue))
    }
  }

  fileprivate func codedSize(of size: SizeU) throws(ImageLayoutError) -> SizeU {
    let least = minSize ?? size
    let coded = try SizeU(
      width: max(size.width, least.width), height: max(size.height, least.height)
    ).rounded(to: sizeAlignment)
    if let maxSize, coded.width > maxSize.width || coded.height > maxSize.height {
      throw .tooLarge(coded, atMost: maxSize)
    }
    // Two numbers of 32 bits: their product has room.
    let count = UInt64(coded.width) * UInt64(coded.height)
    if let limit = maxWidthTimesHeight, count > limit { throw .tooManyPixels(count, atMost: limit) }
    return coded
  }

  fileprivate func bytesPerRow(
    _ groups: PixelGroups, width: UInt64, exactly asked: UInt64?
  ) throws(ImageLayoutError) -> UInt64 {
    let first = groups.planes[0]
    var divisor = UInt64(bytesPerRowDivisor ?? 1)
    guard divisor > 0 else { throw .zeroAlignment }
    if requireBytesPerRowAtPixelBoundary == true { divisor = try divisor.multiple(of: first.bytes) }
    for plane in groups.planes {
      // So that the plane's own row, scaled from the first one's, is whole.
      divisor = try divisor.multiple(
        of: (first.bytes * plane.across).divided(by: plane.bytes * first.across))
    }
    let own = try (width.rounded(to: groups.across) / first.across).multiplied(by: first.bytes)
    let least = max(own, UInt64(minBytesPerRow ?? 0))
    if let asked {
      guard asked >= least else { throw .rowTooLong(least, atMost: asked) }
      guard asked % divisor == 0 else { throw .rowNotAligned(asked, to: divisor) }
    }
    let row = try (asked ?? least).rounded(to: divisor)
    let limit = UInt64(maxBytesPerRow ?? .max)
    guard row <= limit else {
      if maxBytesPerRow == nil { throw .overflow }
      throw .rowTooLong(row, atMost: limit)
    }
    return row
  }
}

extension PixelGroups {
  fileprivate func planes(
    row: UInt64, height: UInt64
  ) throws(ImageLayoutError) -> [ImageLayout.Plane] {
    let first = planes[0]
    var offset: UInt64 = 0
    var result: [ImageLayout.Plane] = []
    for plane in planes {
      let own = try row.multiplied(by: plane.bytes * first.across) / (first.bytes * plane.across)
      let rows = (height + plane.down - 1) / plane.down
      guard let bytesPerRow = UInt32(exactly: own), let count = UInt32(exactly: rows) else {
        throw .overflow
      }
      result.append(ImageLayout.Plane(offset: offset, bytesPerRow: bytesPerRow, rows: count))
      offset = try offset.adding(own * rows)
    }
    return result
  }
}

extension SizeU {
  fileprivate func rounded(to alignment: SizeU?) throws(ImageLayoutError) -> SizeU {
    guard let alignment else { return self }
    let wide = try UInt64(width).rounded(to: UInt64(alignment.width))
    let high = try UInt64(height).rounded(to: UInt64(alignment.height))
    guard let width = UInt32(exactly: wide), let height = UInt32(exactly: high) else {
      throw .overflow
    }
    return SizeU(width: width, height: height)
  }
}

// Arithmetic that throws where the result does not fit.
extension UInt64 {
  fileprivate func adding(_ other: UInt64) throws(ImageLayoutError) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    if overflow { throw .overflow }
    return sum
  }

  fileprivate func multiplied(by other: UInt64) throws(ImageLayoutError) -> UInt64 {
    let (product, overflow) = multipliedReportingOverflow(by: other)
    if overflow { throw .overflow }
    return product
  }

  fileprivate func rounded(to divisor: UInt64) throws(ImageLayoutError) -> UInt64 {
    guard divisor > 0 else { throw .zeroAlignment }
    return try (adding(divisor - 1) / divisor).multiplied(by: divisor)
  }

  /// The least common multiple.
  fileprivate func multiple(of other: UInt64) throws(ImageLayoutError) -> UInt64 {
    try multiplied(by: other.divided(by: self))
  }

  /// What is left of it without the divisors that it shares with `other`.
  fileprivate func divided(by other: UInt64) -> UInt64 {
    var (a, b) = (self, other)
    while b != 0 { (a, b) = (b, a % b) }
    return self / a
  }
}

/// Why an image cannot be laid out.
public enum ImageLayoutError: Error, Hashable, Sendable, CustomStringConvertible {
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
