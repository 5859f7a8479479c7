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

extension Nest: WireBody, WireTable {
  static var ordinal: MessageOrdinal { .getStatus }

  init() { self.init(levels: 0) }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    var first = inner.first
    try coder.field(1, "inner", &first)
    inner = first.map { [$0] } ?? []
    try coder.string(2, "name", &name, atMost: 8)
    try coder.field(3, "id", &id)
    try coder.vector(4, "others", &others, atMost: 64)
  }
}

@Suite struct DepthTests {
  // A table's envelopes are one level, what an envelope holds is one more: the innermost table's
  // envelopes are level 1 + 2 × 15.
  @Test(arguments: [Nest(levels: 15, id: 7), Nest(levels: 14, name: "x")])
  private func `contents 32 deep are read`(_ nest: Nest) throws {
    #expect(try Nest(nest.encoded(), handles: 0) == nest)
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
    let error = #expect(throws: WireError.self) { try Nest(nest.encoded(), handles: 0) }
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
    #expect(try Nest(nest.encoded(), handles: 0) == nest)
  }
}
