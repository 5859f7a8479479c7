import HeapProtocol
import LinuxHeaps
import Testing

/// Tables that another writer of the protocol may send.
@Suite struct AbsentFieldTests {
  private static let header = [UInt8](0x0100_0002_0000_0000, 0x364b_3939_0a96_6fc5)

  @Test func `a property that may be absent means no`() throws {
    let bytes = Sample.onRegister.bytes.with([UInt8](0), at: 48)
    #expect(try !OnRegisterEvent(bytes, handles: 0).properties.needFlush)
  }

  @Test func `a table may end before a field`() throws {
    // {2 need_clear}, and no envelope after that.
    let bytes = Self.header + [UInt8](2, .max, 0, 1 << 48 | 1)
    let error = OnRegisterEvent.refusal(bytes, handles: 0)
    #expect(error?.fault == .absent)
    #expect(error?.field == "properties.coherency_domain_support")
    #expect(error?.offset == 16)
  }

  @Test func `a table may end with absent fields`() throws {
    let header = [UInt8](0x0100_0002_0000_0001, MessageOrdinal.allocateVmo.rawValue)
    let bytes = header + [UInt8](8192, 5, .max, 0x1122, 3, 0, 0, 0, 0, 0)
    let request = try AllocateVmoRequest(bytes, handles: 0)
    #expect(request.settings == SingleBufferSettings())
    #expect(request.encoded() == Sample.allocateVmo.bytes)
  }

  @Test(
    arguments: [
      // {1 id}, {2 index}, {}
      ([1, .max, 8, 7], 48, "buffer_index"), ([2, .max, 0, 8, 7], 56, "buffer_collection_id"),
      ([0, .max], 32, "buffer_collection_id"),
    ] as [([UInt64], UInt64, String)])
  func `a vmo's info is whole`(_ table: [UInt64], _ byteCount: UInt64, _ field: String) {
    let words: [UInt64] = [1, table.reduce(0) { count, _ in count + 8 }] + table
    let bytes =
      Array(Sample.vmoInfo.bytes.prefix(16)) + words.flatMap { [UInt8]($0) }
    let error = GetVmoInfoReply.refusal(bytes, handles: 0)
    #expect(error?.fault == .absent)
    #expect(error?.field == "response.\(field)")
    #expect(error?.offset == 32)
  }
}
