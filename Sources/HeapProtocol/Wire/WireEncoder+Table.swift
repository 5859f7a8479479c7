extension WireEncoder {
  /// A table's fields are gone through twice: the highest one decides where the first has its place.
  enum OpenTable {
    case counting(highest: Int)
    case writing(envelopes: Int)
  }

  mutating func table<Table: WireTable>(_ value: Table, at offset: Int) {
    let outer = openTable
    openTable = .counting(highest: 0)
    value.encodeFields(to: &self)
    if case .counting(let highest) = openTable {
      put(UInt64(highest), at: offset)
      put(UInt64.max, at: offset + 8)
      openTable = .writing(envelopes: reserve(8 * highest))
    }
    value.encodeFields(to: &self)
    openTable = outer
  }

  /// The place of a field's envelope; nil while fields are only counted.
  private mutating func place(_ ordinal: Int) -> Int? {
    switch openTable {
    case .counting(let highest):
      openTable = .counting(highest: max(highest, ordinal))
      return nil
    case .writing(let envelopes):
      return envelopes + 8 * (ordinal - 1)
    }
  }

  mutating func field<Value: WireValue>(_ ordinal: Int, _ value: Value?) {
    guard let value, let offset = place(ordinal) else { return }
    envelope(value, at: offset)
  }

  mutating func string(_ ordinal: Int, _ value: String?, atMost bound: Int) {
    guard let value, let offset = place(ordinal) else { return }
    let count = value.utf8.count
    precondition(count <= bound, "a string of \(count) bytes, of at most \(bound)")
    outOfLine(at: offset, byteCount: 16) { encoder, contents in
      encoder.put(UInt64(count), at: contents)
      encoder.put(UInt64.max, at: contents + 8)
      encoder.append(value.utf8)
    }
  }

  mutating func vector<Element: WireValue>(_ ordinal: Int, _ value: [Element]?, atMost bound: Int) {
    guard let value, let offset = place(ordinal) else { return }
    let count = value.count
    precondition(count <= bound, "a vector of \(count) elements, of at most \(bound)")
    outOfLine(at: offset, byteCount: 16) { encoder, contents in
      encoder.put(UInt64(count), at: contents)
      encoder.put(UInt64.max, at: contents + 8)
      let start = encoder.reserve(count * Element.byteCount)
      for (index, element) in value.enumerated() {
        element.encode(to: &encoder, at: start + index * Element.byteCount)
      }
    }
  }
}
