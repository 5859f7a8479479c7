/// A value that knows its form in a message.
protocol WireValue {
  /// What it takes in line, without what it refers to and without padding.
  static var byteCount: Int { get }

  /// Reads the value that stands at `offset`; the caller has seen that `byteCount` bytes are there.
  /// An error's path starts inside the value.
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError)

  /// Writes to `offset`, where the caller put `byteCount` zeros.
  func encode(to encoder: inout WireEncoder, at offset: Int)
}

/// A number, in the byte order of the format.
protocol WireNumber: WireValue, FixedWidthInteger, BitwiseCopyable {}

extension WireNumber {
  static var byteCount: Int { MemoryLayout<Self>.size }

  init(from decoder: inout WireDecoder, at offset: Int) {
    self = decoder.number(at: offset, as: Self.self)
  }

  func encode(to encoder: inout WireEncoder, at offset: Int) { encoder.put(self, at: offset) }
}

extension UInt32: WireNumber {}
extension UInt64: WireNumber {}
extension Int32: WireNumber {}

extension Bool: WireValue {
  static var byteCount: Int { 1 }

  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    switch decoder.number(at: offset, as: UInt8.self) {
    case 0: self = false
    case 1: self = true
    default: throw WireError(.invalidBool, at: offset)
    }
  }

  func encode(to encoder: inout WireEncoder, at offset: Int) {
    encoder.put(self ? 1 : 0 as UInt8, at: offset)
  }
}

extension RawSpan {
  /// Traps where the span does not hold the number.
  func number<Number: FixedWidthInteger & BitwiseCopyable>(
    at offset: Int, as _: Number.Type
  ) -> Number {
    // Any bytes are a number.
    Number(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: Number.self))
  }
}
