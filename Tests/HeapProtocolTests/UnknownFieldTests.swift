import HeapProtocol
import LinuxHeaps
import Testing

/// Fields of a later version of the protocol.
@Suite struct UnknownFieldTests {
  private static let request = [UInt8](
    0x0100_0002_0000_0001, MessageOrdinal.allocateVmo.rawValue)
  private static let inlined: UInt64 = 1 << 48

  /// AllocateVmo whose settings have these envelopes and contents.
  private static func settings(_ count: UInt64, _ words: [UInt64]) -> [UInt8] {
    request + [UInt8](8192, count, .max, 0x1122, 3) + words.flatMap { [UInt8]($0) }
  }

  @Test(
    arguments: [
      // {3: 4 bytes}, {3: a handle}, {3: 8 bytes}, {3: 16 bytes and 2 handles, 4: a handle}
      (3, [0, 0, inlined | 0xdead_beef], 0), (3, [0, 0, inlined | 1 << 32 | 0xffff_ffff], 1),
      // {3: no bytes and 1 handle}, {3: no bytes and 2 handles, 4: 8 bytes}
      (3, [0, 0, 8, .max], 0), (3, [0, 0, 1 << 32], 1), (4, [0, 0, 2 << 32, 8, .max], 2),
      (4, [0, 0, 2 << 32 | 16, inlined | 1 << 32 | 0xffff_ffff, 1, 2], 3),
      (3, [0, 0, 64 << 32 | 8, .max], 64),
    ] as [(UInt64, [UInt64], Int)])
  func `an unknown field is passed over`(
    _ count: UInt64, _ words: [UInt64], _ handles: Int
  ) throws {
    let bytes = Self.settings(count, words)
    let request = try AllocateVmoRequest(bytes, handles: handles)
    #expect(request.encoded() == Sample.allocateVmo.bytes)
    #expect(AllocateVmoRequest.refusal(bytes, handles: handles + 1) != nil)
    if handles > 0 {
      #expect(AllocateVmoRequest.refusal(bytes, handles: handles - 1)?.fault == .missingHandle)
    }
  }

  @Test func `what stands around an unknown field is read`() throws {
    // {1 buffer_settings: {6 raw_vmo_size, 7: 8 bytes}, 2 constraints: {13, 21: 8 bytes}, 3: 8}
    let words: [UInt64] = [
      88, 1 << 32 | 200, 8,
      7, .max, 0, 0, 0, 0, 0, 8, 8, 4096, .max,
      21, .max, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, Self.inlined | 64, 0, 0, 0, 0, 0, 0, 0,
      1 << 32 | 16, 7, 7,
      9,
    ]
    let bytes = Self.settings(3, words)
    let settings = try AllocateVmoRequest(bytes, handles: 1).settings
    var constraints = ImageFormatConstraints()
    constraints.bytesPerRowDivisor = 64
    let expected = SingleBufferSettings(
      bufferSettings: BufferMemorySettings(rawVmoSize: 4096),
      imageFormatConstraints: constraints)
    #expect(settings == expected)
  }

  @Test(
    arguments: [
      // Flags, bytes that are no multiple of 8, none with a handle that is not there, too many.
      ([0, 0, 2 << 48 | 8, 0], .invalidEnvelopeFlags, 72),
      ([0, 0, 4, 0], .envelopeByteCount, 72), ([0, 0, 12, 0, 0], .envelopeByteCount, 72),
      ([0, 0, 1 << 32], .missingHandle, 72), ([0, 0, 16, 0], .truncated, 80),
      ([0, 0, 0xffff_fff8, 0], .truncated, 80), ([0, 0, 1 << 32 | 8, 0], .missingHandle, 72),
      ([0, 0, inlined | 1 << 32], .missingHandle, 72),
      ([0, 0, inlined | 0xffff << 32], .missingHandle, 72),
    ] as [([UInt64], WireError.Fault, Int)])
  func `an unknown field has an envelope like others`(
    _ words: [UInt64], _ fault: WireError.Fault, _ offset: Int
  ) {
    let error = AllocateVmoRequest.refusal(Self.settings(3, words), handles: 0)
    #expect(error?.fault == fault)
    #expect(error?.field == "settings.#3")
    #expect(error?.offset == offset)
  }

  @Test func `each table passes over what it does not know`() throws {
    let known = Self.inlined | 1 << 32 | 0xffff_ffff
    func check<Kind: Message>(_ sample: Sample, _: Kind.Type, _ body: [UInt64], _ handles: Int)
      throws
    {
      let bytes = Array(sample.bytes.prefix(16)) + body.flatMap { [UInt8]($0) }
      let message = try Kind(bytes, handles: handles)
      #expect(message.encoded(sample.transactionID) == sample.bytes)
    }
    try check(.getVmoInfo, GetVmoInfoRequest.self, [2, .max, known, 1 << 32 | 8, 7], 2)
    try check(.awaitReclaimed, AwaitReclaimedRequest.self, [3, .max, known, 0, known], 2)
    try check(.getStatus, GetStatusRequest.self, [1, .max, known], 1)
    try check(
      .allocateVmoFrom, AllocateVmoFromRequest.self,
      [6, .max, 8, 0, 8, 8, known, 1 << 32 | 8, 8192, 0x1122, 3, 7], 2)
    try check(
      .allocatedVmoFrom, AllocateVmoFromReply.self, [1, 2 << 32 | 32, 2, .max, known, known], 2)
    try check(
      .attach, AttachLifetimeTrackingRequest.self,
      [4, .max, known, Self.inlined | 2, 8, 2 << 32 | 8, 0x1122, 7], 3)
    try check(
      .vmoInfo, GetVmoInfoReply.self,
      [1, 1 << 32 | 56, 3, .max, 8, 8, known, 0x1122, 3], 1)
    try check(.attached, AttachLifetimeTrackingReply.self, [1, 24, 1, .max, Self.inlined], 0)
    try check(.reclaimed, AwaitReclaimedReply.self, [1, 32, 1, .max, 8, 7], 0)
    try check(
      .status, GetStatusReply.self, [1, 2 << 32 | 48, 3, .max, known, 8, known, 1234], 2)
    try check(
      .onRegister, OnRegisterEvent.self,
      [
        4, .max, 56, Self.inlined, Self.inlined | 1, 8,
        4, .max, Self.inlined | 1, Self.inlined | 1, Self.inlined, 8, 7, 9,
      ], 0)
  }

  @Test func `a handle's place counts from the first that is mentioned`() throws {
    let known = Self.inlined | 1 << 32 | 0xffff_ffff
    let bytes =
      Array(Sample.status.bytes.prefix(16))
      + [UInt8](1, 2 << 32 | 48, 3, .max, known, 8, known, 1234)
    var expected = StatusReport(size: 1234)
    expected.report = HandleIndex(rawValue: 0)
    #expect(try GetStatusReply(bytes, handles: 2).result == .success(expected))
  }
}
