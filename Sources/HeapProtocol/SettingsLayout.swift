internal import LinuxHeaps

// How each of fuchsia.sysmem2's tables that AllocateVmo and OnRegister reach is laid out.

extension SingleBufferSettings: WireTable {
  init() { self.init(bufferSettings: nil) }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.field(1, "buffer_settings", &bufferSettings)
    try coder.field(2, "image_format_constraints", &imageFormatConstraints)
  }
}

extension BufferMemorySettings: WireTable {
  init() { self.init(sizeBytes: nil) }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.field(1, "size_bytes", &sizeBytes)
    try coder.field(2, "is_physically_contiguous", &isPhysicallyContiguous)
    try coder.field(3, "is_secure", &isSecure)
    try coder.field(4, "coherency_domain", &coherencyDomain)
    try coder.field(5, "heap", &heap)
    try coder.field(6, "raw_vmo_size", &rawVmoSize)
  }
}

extension CoherencyDomain: WireValue {}

extension HeapIdentifier: WireTable {
  init() { self.init(heapType: nil) }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.string(1, "heap_type", &heapType, atMost: 128)
    try coder.field(2, "id", &id)
  }
}

extension ImageFormatConstraints: WireTable {
  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.field(1, "pixel_format", &pixelFormat)
    try coder.field(2, "pixel_format_modifier", &pixelFormatModifier)
    try coder.vector(3, "color_spaces", &colorSpaces, atMost: 32)
    try coder.field(4, "min_size", &minSize)
    try coder.field(5, "max_size", &maxSize)
    try coder.field(6, "min_bytes_per_row", &minBytesPerRow)
    try coder.field(7, "max_bytes_per_row", &maxBytesPerRow)
    try coder.field(8, "max_width_times_height", &maxWidthTimesHeight)
    try coder.field(9, "size_alignment", &sizeAlignment)
    try coder.field(10, "display_rect_alignment", &displayRectAlignment)
    try coder.field(11, "required_min_size", &requiredMinSize)
    try coder.field(12, "required_max_size", &requiredMaxSize)
    try coder.field(13, "bytes_per_row_divisor", &bytesPerRowDivisor)
    try coder.field(14, "start_offset_divisor", &startOffsetDivisor)
    try coder.vector(15, "pixel_format_and_modifiers", &pixelFormatAndModifiers, atMost: 64)
    try coder.field(
      16, "require_bytes_per_row_at_pixel_boundary", &requireBytesPerRowAtPixelBoundary)
    try coder.field(17, "is_alpha_present", &isAlphaPresent)
    try coder.vector(18, "required_max_size_list", &requiredMaxSizeList, atMost: 64)
    try coder.field(19, "pad_for_block_size", &padForBlockSize)
    try coder.field(20, "pad_beyond_image_size_bytes", &padBeyondImageSizeBytes)
  }
}

extension PixelFormat: WireValue {}
extension PixelFormatModifier: WireValue {}

extension SizeU: WireValue {
  static var byteCount: Int { 8 }

  init() { self.init(width: 0, height: 0) }

  mutating func code(_ coder: inout WireCoder, at offset: Int) {
    coder.number(&width, at: offset)
    coder.number(&height, at: offset + 4)
  }
}

/// {u32, 4 bytes of padding, u64}
extension PixelFormatAndModifier: WireValue {
  static var byteCount: Int { 16 }

  init() { self.init(pixelFormat: PixelFormat(), pixelFormatModifier: PixelFormatModifier()) }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    pixelFormat.code(&coder, at: offset)
    try coder.padding(offset + 4..<offset + 8)
    pixelFormatModifier.code(&coder, at: offset + 8)
  }
}

/// All fields are written, the known caller relies on it; only need_flush may be absent when read.
extension HeapProperties: WireTable {
  init() { self.init(coherencyDomainSupport: CoherencyDomainSupport()) }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.required(1, "coherency_domain_support", &coherencyDomainSupport)
    try coder.required(2, "need_clear", &needClear)
    // False, where reading begins.
    var flush: Bool? = needFlush
    try coder.field(3, "need_flush", &flush)
    needFlush = flush ?? false
  }
}

extension CoherencyDomainSupport: WireTable {
  init() { self.init(cpuSupported: false, ramSupported: false, inaccessibleSupported: false) }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.required(1, "cpu_supported", &cpuSupported)
    try coder.required(2, "ram_supported", &ramSupported)
    try coder.required(3, "inaccessible_supported", &inaccessibleSupported)
  }
}
