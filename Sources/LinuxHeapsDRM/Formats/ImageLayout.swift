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
    byteCount = try Checked(try filled.byteCount) + (constraints.padBeyondImageSizeBytes ?? 0)
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
    let pixels = try Checked(width).rounded(to: groups.across)
    let own = try Checked(pixels / first.across) * first.bytes
    let least = max(own, UInt64(minBytesPerRow ?? 0))
    if let asked {
      guard asked >= least else { throw .rowTooLong(least, atMost: asked) }
      guard asked % divisor == 0 else { throw .rowNotAligned(asked, to: divisor) }
    }
    let row = try Checked(asked ?? least).rounded(to: divisor)
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
      let own = try Checked(row) * (plane.bytes * first.across) / (first.bytes * plane.across)
      let rows = (height + plane.down - 1) / plane.down
      guard let bytesPerRow = UInt32(exactly: own), let count = UInt32(exactly: rows) else {
        throw .overflow
      }
      result.append(ImageLayout.Plane(offset: offset, bytesPerRow: bytesPerRow, rows: count))
      offset = try Checked(offset) + own * rows
    }
    return result
  }
}

extension [ImageLayout.Plane] {
  fileprivate var byteCount: UInt64 {
    get throws(ImageLayoutError) {
      guard let last else { return 0 }
      return try Checked(last.offset) + UInt64(last.bytesPerRow) * UInt64(last.rows)
    }
  }
}

extension SizeU {
  fileprivate func rounded(to alignment: SizeU?) throws(ImageLayoutError) -> SizeU {
    guard let alignment else { return self }
    let wide = try Checked(UInt64(width)).rounded(to: UInt64(alignment.width))
    let high = try Checked(UInt64(height)).rounded(to: UInt64(alignment.height))
    guard let width = UInt32(exactly: wide), let height = UInt32(exactly: high) else {
      throw .overflow
    }
    return SizeU(width: width, height: height)
  }
}

extension UInt64 {
  /// The least common multiple.
  fileprivate func multiple(of other: UInt64) throws(ImageLayoutError) -> UInt64 {
    try Checked(self) * other.divided(by: self)
  }

  /// What is left of it without the divisors that it shares with `other`.
  fileprivate func divided(by other: UInt64) -> UInt64 {
    var (a, b) = (self, other)
    while b != 0 { (a, b) = (b, a % b) }
    return self / a
  }
}

/// Arithmetic that throws where the number has no room.
private struct Checked {
  let value: UInt64
  init(_ value: UInt64) { self.value = value }

  static func + (left: Checked, right: UInt64) throws(ImageLayoutError) -> UInt64 {
    let (sum, overflow) = left.value.addingReportingOverflow(right)
    if overflow { throw .overflow }
    return sum
  }

  static func * (left: Checked, right: UInt64) throws(ImageLayoutError) -> UInt64 {
    let (product, overflow) = left.value.multipliedReportingOverflow(by: right)
    if overflow { throw .overflow }
    return product
  }

  func rounded(to divisor: UInt64) throws(ImageLayoutError) -> UInt64 {
    guard divisor > 0 else { throw .zeroAlignment }
    return try Checked((try Checked(value) + (divisor - 1)) / divisor) * divisor
  }
}
