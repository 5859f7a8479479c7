internal import CZlib

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
