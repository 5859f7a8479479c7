internal import LinuxHeaps

extension ImageFormatConstraints: WireTable {
  package static let mostColorSpaces = 32
  package static let mostFormats = 64
  package static let mostSizes = 64

  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    self.init()
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: pixelFormat = PixelFormat(rawValue: try decoder.field(field, "pixel_format"))
      case 2:
        pixelFormatModifier = PixelFormatModifier(
          rawValue: try decoder.field(field, "pixel_format_modifier"))
      case 3:
        colorSpaces = try decoder.vector(field, "color_spaces", atMost: Self.mostColorSpaces)
      case 4: minSize = try decoder.field(field, "min_size")
      case 5: maxSize = try decoder.field(field, "max_size")
      case 6: minBytesPerRow = try decoder.field(field, "min_bytes_per_row")
      case 7: maxBytesPerRow = try decoder.field(field, "max_bytes_per_row")
      case 8: maxWidthTimesHeight = try decoder.field(field, "max_width_times_height")
      case 9: sizeAlignment = try decoder.field(field, "size_alignment")
      case 10: displayRectAlignment = try decoder.field(field, "display_rect_alignment")
      case 11: requiredMinSize = try decoder.field(field, "required_min_size")
      case 12: requiredMaxSize = try decoder.field(field, "required_max_size")
      case 13: bytesPerRowDivisor = try decoder.field(field, "bytes_per_row_divisor")
      case 14: startOffsetDivisor = try decoder.field(field, "start_offset_divisor")
      case 15:
        pixelFormatAndModifiers = try decoder.vector(
          field, "pixel_format_and_modifiers", atMost: Self.mostFormats)
      case 16:
        requireBytesPerRowAtPixelBoundary = try decoder.field(
          field, "require_bytes_per_row_at_pixel_boundary")
      case 17: isAlphaPresent = try decoder.field(field, "is_alpha_present")
      case 18:
        requiredMaxSizeList = try decoder.vector(
          field, "required_max_size_list", atMost: Self.mostSizes)
      case 19: padForBlockSize = try decoder.field(field, "pad_for_block_size")
      case 20: padBeyondImageSizeBytes = try decoder.field(field, "pad_beyond_image_size_bytes")
      default: try decoder.skip(field)
      }
    }
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.field(1, pixelFormat?.rawValue)
    encoder.field(2, pixelFormatModifier?.rawValue)
    encoder.vector(3, colorSpaces, atMost: Self.mostColorSpaces)
    encoder.field(4, minSize)
    encoder.field(5, maxSize)
    encoder.field(6, minBytesPerRow)
    encoder.field(7, maxBytesPerRow)
    encoder.field(8, maxWidthTimesHeight)
    encoder.field(9, sizeAlignment)
    encoder.field(10, displayRectAlignment)
    encoder.field(11, requiredMinSize)
    encoder.field(12, requiredMaxSize)
    encoder.field(13, bytesPerRowDivisor)
    encoder.field(14, startOffsetDivisor)
    encoder.vector(15, pixelFormatAndModifiers, atMost: Self.mostFormats)
    encoder.field(16, requireBytesPerRowAtPixelBoundary)
    encoder.field(17, isAlphaPresent)
    encoder.vector(18, requiredMaxSizeList, atMost: Self.mostSizes)
    encoder.field(19, padForBlockSize)
    encoder.field(20, padBeyondImageSizeBytes)
  }
}

extension SizeU: WireValue {
  static var byteCount: Int { 8 }

  init(from decoder: inout WireDecoder, at offset: Int) {
    self.init(
      width: decoder.number(at: offset, as: UInt32.self),
      height: decoder.number(at: offset + 4, as: UInt32.self))
  }

  func encode(to encoder: inout WireEncoder, at offset: Int) {
    encoder.put(width, at: offset)
    encoder.put(height, at: offset + 4)
  }
}

/// {u32, 4 bytes of padding, u64}
extension PixelFormatAndModifier: WireValue {
  static var byteCount: Int { 16 }

  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    try decoder.checkPadding(offset + 4..<offset + 8)
    self.init(
      pixelFormat: PixelFormat(rawValue: decoder.number(at: offset, as: UInt32.self)),
      pixelFormatModifier: PixelFormatModifier(
        rawValue: decoder.number(at: offset + 8, as: UInt64.self)))
  }

  func encode(to encoder: inout WireEncoder, at offset: Int) {
    encoder.put(pixelFormat.rawValue, at: offset)
    encoder.put(pixelFormatModifier.rawValue, at: offset + 8)
  }
}
