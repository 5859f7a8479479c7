/// A table without fields, for now: those of a later version are passed over.
public struct EmptyTable: Hashable, Sendable {
  public init() {}
}

extension EmptyTable: WireTable {
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) { try decoder.skip(field) }
  }

  func encodeFields(to encoder: inout WireEncoder) {}
}
