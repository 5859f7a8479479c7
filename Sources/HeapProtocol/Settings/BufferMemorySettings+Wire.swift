internal import LinuxHeaps

extension BufferMemorySettings: WireTable {
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    self.init()
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: sizeBytes = try decoder.field(field, "size_bytes")
      case 2: isPhysicallyContiguous = try decoder.field(field, "is_physically_contiguous")
      case 3: isSecure = try decoder.field(field, "is_secure")
      case 4:
        coherencyDomain = CoherencyDomain(rawValue: try decoder.field(field, "coherency_domain"))
      case 5: heap = try decoder.field(field, "heap")
      case 6: rawVmoSize = try decoder.field(field, "raw_vmo_size")
      default: try decoder.skip(field)
      }
    }
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.field(1, sizeBytes)
    encoder.field(2, isPhysicallyContiguous)
    encoder.field(3, isSecure)
    encoder.field(4, coherencyDomain?.rawValue)
    encoder.field(5, heap)
    encoder.field(6, rawVmoSize)
  }
}

extension HeapIdentifier: WireTable {
  /// Bytes.
  package static let longestHeapType = 128

  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    self.init()
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: heapType = try decoder.string(field, "heap_type", atMost: Self.longestHeapType)
      case 2: id = try decoder.field(field, "id")
      default: try decoder.skip(field)
      }
    }
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.string(1, heapType, atMost: Self.longestHeapType)
    encoder.field(2, id)
  }
}
