extension WireDecoder {
  /// A table whose envelopes are being read.
  struct Table {
    /// Where its count stands.
    let offset: Int
    fileprivate let envelopes: Int
    fileprivate let count: Int
    fileprivate var ordinal = 0

    /// A field that there has to be.
    func required<Value>(_ value: Value?, _ name: StaticString) throws(WireError) -> Value {
      guard let value else { throw WireError(.absent, at: offset, in: "\(name)") }
      return value
    }
  }

  /// Enters the table that stands at `offset`; ``nextField(_:)`` leaves it at its end.
  mutating func table(at offset: Int) throws(WireError) -> Table {
    let count = try count(at: offset)
    try descend()
    // A count that overflows is not in the message either.
    let (byteCount, isTooLarge) = count.multipliedReportingOverflow(by: 8)
    let envelopes = try claim(isTooLarge ? .max : byteCount)
    return Table(offset: offset, envelopes: envelopes, count: Int(count))
  }

  /// The next field that is present; nil after the last.
  mutating func nextField(_ table: inout Table) -> Envelope? {
    while table.ordinal < table.count {
      let offset = table.envelopes + 8 * table.ordinal
      table.ordinal += 1
      let word = number(at: offset, as: UInt64.self)
      if word != 0 { return Envelope(ordinal: table.ordinal, offset: offset, word: word) }
    }
    ascend()
    return nil
  }

  /// The count of a table, string or vector, none of which can be null in these messages.
  func count(at offset: Int) throws(WireError) -> UInt64 {
    switch number(at: offset + 8, as: UInt64.self) {
    case .max: return number(at: offset, as: UInt64.self)
    case 0: throw WireError(.unexpectedNull, at: offset + 8)
    default: throw WireError(.invalidPresence, at: offset + 8)
    }
  }

  /// The member that the union at `offset` has.
  func union(at offset: Int) throws(WireError) -> Envelope {
    let ordinal = number(at: offset, as: UInt64.self)
    guard ordinal != 0 else { throw WireError(.unexpectedNull, at: offset) }
    guard let ordinal = Int(exactly: ordinal) else { throw WireError(.unknownMember, at: offset) }
    let word = number(at: offset + 8, as: UInt64.self)
    guard word != 0 else { throw WireError(.unexpectedNull, at: offset + 8) }
    return Envelope(ordinal: ordinal, offset: offset + 8, word: word)
  }
}
