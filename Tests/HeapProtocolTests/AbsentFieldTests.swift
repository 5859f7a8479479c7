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
      ([5, .max, 0, 0, 8, 8, handle, 0x1122, 3], 1, "size"),
      ([5, .max, 8, 0, 0, 8, handle, 8192, 3], 1, "buffer_collection_id"),
      ([5, .max, 8, 0, 8, 0, handle, 8192, 0x1122], 1, "buffer_index"),
      ([4, .max, 8, 0, 8, 8, 8192, 0x1122, 3], 0, "memory"),
    ] as [([UInt64], Int, String)])
  func `memory that a client brings is described as a whole`(
    _ table: [UInt64], _ handles: Int, _ field: String
  ) {
    let bytes =
      Array(Sample.allocateVmoFrom.bytes.prefix(16)) + table.flatMap { [UInt8]($0) }
    let error = AllocateVmoFromRequest.refusal(bytes, handles: handles)
    #expect(error?.fault == .absent)
    #expect(error?.field == "body.\(field)" || error?.field == field, "\(error?.field ?? "none")")
    #expect(error?.offset == 16)
  }

  private static let handle: UInt64 = 1 << 48 | 1 << 32 | 0xffff_ffff

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
