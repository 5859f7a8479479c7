extension [UInt8] {
  /// Pairs of hexadecimal digits; white space is passed over.
  package init(hex: String) {
    let digits = hex.compactMap(\.hexDigitValue).map { UInt8($0) }
    self = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }

  package var hex: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }

  /// With other bytes from `offset` on.
  package func with(_ bytes: [UInt8], at offset: Int) -> [UInt8] {
    var copy = self
    copy.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    return copy
  }
}
