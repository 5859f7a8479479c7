/// A table: each field is there or not, and has its number for ever.
protocol WireTable: WireValue {
  /// Hands all fields to the encoder, in the order of their ordinals.
  func encodeFields(to encoder: inout WireEncoder)
}

extension WireTable {
  static var byteCount: Int { 16 }

  func encode(to encoder: inout WireEncoder, at offset: Int) { encoder.table(self, at: offset) }
}
