internal import CZlib
internal import LinuxHeaps
internal import LinuxHeapsV4L2

/// A frame's pixels as red, green and blue, whatever the camera makes.
enum FramePixels {
  /// What can be converted.
  static let formats: [VideoFourCC] = [
    .xr24, .ar24, .rgb3, .bgr3, .rgbp, .yuyv, .uyvy, .nv12, .grey,
  ]

  /// Throws for a format that cannot be converted.
  static func check(_ format: VideoFormat) throws(HeapError) {
    guard formats.contains(format.pixelFormat) else { throw unknown(format) }
  }

  private static func unknown(_ format: VideoFormat) -> HeapError {
    HeapError(
      .notSupported, "convert a frame of \(format) for a picture",
      cause: "heapctl does not convert this format",
      fix: "use --format with one of: \(formats.map(\.description).joined(separator: " "))")
  }

  static func rgb(of vmo: borrowing VMO, _ format: VideoFormat) throws(HeapError) -> [UInt8] {
    let mapping = try vmo.mapReadOnly()
    let access = try mapping.readAccess()
    let bytes = access.bytes
    var rgb: [UInt8] = []
    rgb.reserveCapacity(format.width * format.height * 3)
    for y in 0..<format.height {
      let row = y * format.bytesPerLine
      for x in 0..<format.width {
        switch format.pixelFormat {
        case .xr24, .ar24:
          let at = row + x * 4
          rgb += [bytes[at + 2], bytes[at + 1], bytes[at]]
        case .rgb3:
          let at = row + x * 3
          rgb += [bytes[at], bytes[at + 1], bytes[at + 2]]
        case .bgr3:
          let at = row + x * 3
          rgb += [bytes[at + 2], bytes[at + 1], bytes[at]]
        case .rgbp:
          let at = row + x * 2
          let pixel = UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8
          rgb += [wide(pixel >> 11, 5), wide(pixel >> 5 & 63, 6), wide(pixel & 31, 5)]
        case .yuyv:
          let at = row + x / 2 * 4
          rgb += video(bytes[row + x * 2], bytes[at + 1], bytes[at + 3])
        case .uyvy:
          let at = row + x / 2 * 4
          rgb += video(bytes[row + x * 2 + 1], bytes[at], bytes[at + 2])
        case .nv12:
          let at = format.bytesPerLine * (format.height + y / 2) + x / 2 * 2
          rgb += video(bytes[row + x], bytes[at], bytes[at + 1])
        case .grey:
          rgb += [UInt8](repeating: bytes[row + x], count: 3)
        default: throw unknown(format)
        }
      }
    }
    return rgb
  }

  /// The most significant bits again as the least: full stays full.
  private static func wide(_ value: UInt16, _ bits: UInt16) -> UInt8 {
    UInt8(truncatingIfNeeded: value << (8 - bits) | value >> (2 * bits - 8))
  }

  /// BT.601, limited range, in 256ths.
  private static func video(_ luma: UInt8, _ blue: UInt8, _ red: UInt8) -> [UInt8] {
    let (y, u, v) = (298 * (Int(luma) - 16), Int(blue) - 128, Int(red) - 128)
    return [y + 409 * v, y - 100 * u - 208 * v, y + 516 * u].map {
      UInt8(clamping: ($0 + 128) >> 8)
    }
  }
}

extension RawSpan {
  fileprivate subscript(_ offset: Int) -> UInt8 {
    // The offset is checked; any eight bits are a byte.
    unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }
}

/// A PNG file (https://www.w3.org/TR/png-3/) of 8-bit RGB.
///
/// By hand over zlib: libpng would be one more library in every image for the sake of one small file.
enum PNG {
  /// - Parameter rgb: Red, green and blue of each pixel, row by row.
  static func file(width: Int, height: Int, rgb: [UInt8]) -> [UInt8] {
    precondition(rgb.count == width * height * 3, "three bytes for each pixel")
    // 8 bits, colour type 2: RGB; no interlace.
    let header = bigEndian(UInt32(width)) + bigEndian(UInt32(height)) + [8, 2, 0, 0, 0]
    return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] + chunk("IHDR", header)
      + chunk("IDAT", compressed(filtered(rgb, rowBytes: width * 3))) + chunk("IEND", [])
  }

  /// Each row after a byte that says how it is filtered: not at all.
  private static func filtered(_ rgb: [UInt8], rowBytes: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(rgb.count + rgb.count / rowBytes)
    for start in stride(from: 0, to: rgb.count, by: rowBytes) {
      bytes.append(0)
      bytes += rgb[start..<start + rowBytes]
    }
    return bytes
  }

  private static func compressed(_ bytes: [UInt8]) -> [UInt8] {
    var size = compressBound(uLong(bytes.count))
    return unsafe [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
      let status = unsafe compress(buffer.baseAddress, &size, bytes, uLong(bytes.count))
      precondition(status == Z_OK, "compress(3) fails for want of memory only")
      count = Int(size)
    }
  }

  private static func chunk(_ type: String, _ data: [UInt8]) -> [UInt8] {
    let body = Array(type.utf8) + data
    let check = unsafe crc32(0, body, uInt(body.count))
    return bigEndian(UInt32(data.count)) + body + bigEndian(UInt32(check))
  }

  private static func bigEndian(_ number: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
  }
}
