import Testing

@testable import HeapProtocol

/// A table in itself, as no message has it: {inner, name, id, others}.
private struct Nest: Hashable {
  var inner: [Nest] = []
  var name: String?
  var id: UInt64?
  var others: [Nest]?

  init(levels: Int, name: String? = nil, id: UInt64? = nil) {
    if levels > 0 {
      inner = [Nest(levels: levels - 1, name: name, id: id)]
    } else {
      (self.name, self.id) = (name, id)
    }
  }
}

extension Nest: WireTable {
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    self.init(levels: 0)
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: inner = [try decoder.field(field, "inner")]
      case 2: name = try decoder.string(field, "name", atMost: 8)
      case 3: id = try decoder.field(field, "id")
      case 4: others = try decoder.vector(field, "others", atMost: 64)
      default: try decoder.skip(field)
      }
    }
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.field(1, inner.first)
    encoder.string(2, name, atMost: 8)
    encoder.field(3, id)
    encoder.vector(4, others, atMost: 64)
  }

  func bytes() -> [UInt8] {
    var buffer: [UInt8] = []
    let header = MessageHeader(transactionID: 1, ordinal: .getStatus)
    WireEncoder.write(header, body: self, into: &buffer)
    return buffer
  }

  init(_ bytes: [UInt8]) throws(WireError) {
    var decoder = try WireDecoder(bytes.message, handleCount: 0, of: .getStatus)
    self = try decoder.body()
    try decoder.finish()
  }
}

@Suite struct DepthTests {
  // A table's envelopes are one level, what an envelope holds is one more: the innermost table's
  // envelopes are level 1 + 2 × 15.
  @Test(arguments: [Nest(levels: 15, id: 7), Nest(levels: 14, name: "x")])
  private func `contents 32 deep are read`(_ nest: Nest) throws {
    #expect(try Nest(nest.bytes()) == nest)
  }

  @Test(
    arguments: [
      // Its envelopes.
      (Nest(levels: 16), 16 + 16 + 16 * 24, 16, ""),
      // Its characters; before that come 15 envelopes and tables, three envelopes, the count.
      (Nest(levels: 15, name: "x"), 16 + 16 + 15 * 24 + 16 + 16, 15, ".name"),
    ])
  private func `contents 33 deep are refused`(
    _ nest: Nest, _ offset: Int, _ levels: Int, _ leaf: String
  ) throws {
    let error = #expect(throws: WireError.self) { try Nest(nest.bytes()) }
    #expect(error?.fault == .tooDeep)
    #expect(error?.offset == offset)
    #expect(
      error?.field == Array(repeating: "inner", count: levels).joined(separator: ".") + leaf)
  }

  @Test func `depth is of what is inside one another, not side by side`() throws {
    var other = Nest(levels: 2, name: "x", id: 7)
    other.others = [Nest(levels: 1, name: "y"), Nest(levels: 0, id: 8)]
    var nest = Nest(levels: 0)
    nest.others = Array(repeating: other, count: 64)
    #expect(try Nest(nest.bytes()) == nest)
  }
}
