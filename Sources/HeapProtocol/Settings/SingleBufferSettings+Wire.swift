internal import LinuxHeaps

extension SingleBufferSettings: WireTable {
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    var bufferSettings: BufferMemorySettings?
    var imageFormatConstraints: ImageFormatConstraints?
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: bufferSettings = try decoder.field(field, "buffer_settings")
      case 2: imageFormatConstraints = try decoder.field(field, "image_format_constraints")
      default: try decoder.skip(field)
      }
    }
    self.init(bufferSettings: bufferSettings, imageFormatConstraints: imageFormatConstraints)
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.field(1, bufferSettings)
    encoder.field(2, imageFormatConstraints)
  }
}
