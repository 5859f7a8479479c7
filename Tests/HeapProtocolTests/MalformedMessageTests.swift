import Testing

@testable import HeapProtocol

/// One change to a good message, and what is wrong then.
struct Malformed: Sendable, CustomTestStringConvertible {
  let sample: Sample
  let change: String
  let bytes: [UInt8]
  var handles: Int
  let error: WireError

  init(
    _ sample: Sample, _ change: String, _ bytes: [UInt8], at offset: Int, handles: Int? = nil,
    _ fault: WireError.Fault, _ field: String, _ faultOffset: Int? = nil
  ) {
    self.sample = sample
    self.change = change
    self.bytes = sample.bytes.with(bytes, at: offset)
    self.handles = handles ?? sample.handles
    error = WireError(fault, at: faultOffset ?? offset, in: field)
  }

  var testDescription: String { "\(sample.testDescription), \(change)" }
}

@Suite struct MalformedMessageTests {
  @Test(arguments: bodies + properties + handles + unions + absent)
  func `a malformed message is refused`(_ malformed: Malformed) {
    let error = malformed.sample.refusal(malformed.bytes, handles: malformed.handles)
    #expect(error == malformed.error)
  }

  @Test(arguments: Sample.all)
  func `nothing follows the last object`(_ sample: Sample) {
    for count in [1, 4, 8, 4096] {
      let bytes = sample.bytes + [UInt8](repeating: 0, count: count)
      let end = sample.bytes.count
      #expect(sample.refusal(bytes) == WireError(.trailingBytes, at: end, in: "message"))
    }
  }

  @Test(arguments: Sample.all)
  func `the handles are those that are mentioned`(_ sample: Sample) {
    let end = sample.bytes.count
    for handles in [sample.handles + 1, 64] {
      let error = sample.refusal(sample.bytes, handles: handles)
      #expect(error == WireError(.surplusHandle, at: end, in: "message"))
    }
    for handles in [65, 1 << 40, Int.max] {
      let error = sample.refusal(sample.bytes, handles: handles)
      #expect(error == WireError(.tooManyHandles, at: end, in: "message"))
    }
  }

  @Test(
    arguments: [
      .allocatedVmo, .allocateVmoStatus, .vmoInfoError, .attachError, .reclaimed, .status,
    ]
      as [Sample], [0, 4, 1 << 32, 1 << 63, .max] as [UInt64])
  func `a union has a member that is known`(_ sample: Sample, _ ordinal: UInt64) {
    let error = sample.refusal(sample.bytes.with([UInt8](ordinal), at: 16))
    let fault: WireError.Fault = ordinal == 0 ? .unexpectedNull : .unknownMember
    #expect(error == WireError(fault, at: 16, in: "body"))
  }

  // Only a flexible method's.
  @Test(arguments: [.allocatedVmo, .allocateVmoStatus] as [Sample])
  func `a strict method has no framework error`(_ sample: Sample) {
    let error = sample.refusal(sample.bytes.with([3], at: 16))
    #expect(error == WireError(.unknownMember, at: 16, in: "body"))
  }

  private static let bodies = [
    Malformed(.deleteVmo, "padding", [1], at: 36, .nonzeroPadding, "body"),
    Malformed(.deleteVmo, "last padding", [0x80], at: 39, .nonzeroPadding, "body"),
    Malformed(.epitaph, "padding", [1], at: 20, .nonzeroPadding, "body"),
    Malformed(.epitaph, "last padding", [0x80], at: 23, .nonzeroPadding, "body"),
    Malformed(.getVmoInfo, "null", [UInt8](0), at: 24, .unexpectedNull, "body"),
    Malformed(.attach, "null", [UInt8](0), at: 24, .unexpectedNull, "body"),
    Malformed(.awaitReclaimed, "presence", [0], at: 24, .invalidPresence, "body"),
    Malformed(.getStatus, "presence", [0], at: 31, .invalidPresence, "body", 24),
    Malformed(.getStatus, "too large a table", [1], at: 16, .truncated, "body", 32),
    Malformed(.getVmoInfo, "a huge table", [0xff], at: 23, .truncated, "body", 32),
    Malformed(.attached, "null", [UInt8](0), at: 40, .unexpectedNull, "response"),
    Malformed(.reclaimed, "presence", [1], at: 40, .invalidPresence, "response"),
  ]

  private static let properties = [
    Malformed(.onRegister, "null", [UInt8](0), at: 24, .unexpectedNull, "properties"),
    Malformed(.onRegister, "presence", [0], at: 24, .invalidPresence, "properties"),
    Malformed(.onRegister, "a huge table", [0xff], at: 23, .truncated, "properties", 32),
    Malformed(
      .onRegister, "null", [UInt8](0), at: 64, .unexpectedNull,
      "properties.coherency_domain_support"),
    Malformed(
      .onRegister, "bytes", [0x30], at: 32, .envelopeByteCount,
      "properties.coherency_domain_support"),
    Malformed(
      .onRegister, "flag", [1], at: 38, .inlined, "properties.coherency_domain_support", 32),
    Malformed(.onRegister, "bool", [2], at: 40, .invalidBool, "properties.need_clear"),
    Malformed(.onRegister, "padding", [1], at: 49, .nonzeroPadding, "properties.need_flush"),
    Malformed(.onRegister, "flag", [0], at: 54, .notInlined, "properties.need_flush", 48),
    Malformed(
      .onRegister, "bool", [2], at: 88, .invalidBool,
      "properties.coherency_domain_support.inaccessible_supported"),
  ]

  private static let handles = [
    Malformed(.deleteVmo, "no handle", [], at: 32, handles: 0, .missingHandle, "vmo"),
    Malformed(.deleteVmo, "null", [0, 0, 0, 0], at: 32, .unexpectedNull, "vmo"),
    Malformed(.deleteVmo, "presence", [0], at: 32, .invalidPresence, "vmo"),
    Malformed(.allocatedVmo, "no handle", [], at: 24, handles: 0, .missingHandle, "response.vmo"),
    Malformed(.allocatedVmo, "null", [0, 0, 0, 0], at: 24, .unexpectedNull, "response.vmo"),
    Malformed(.allocatedVmo, "presence", [1], at: 24, .invalidPresence, "response.vmo"),
    Malformed(.allocatedVmo, "0 handles", [0], at: 28, .envelopeHandleCount, "response.vmo", 24),
    Malformed(.allocatedVmo, "2 handles", [2], at: 28, .envelopeHandleCount, "response.vmo", 24),
    Malformed(.getVmoInfo, "no handle", [], at: 32, handles: 0, .missingHandle, "vmo"),
    Malformed(.getVmoInfo, "null", [0, 0, 0, 0], at: 32, .unexpectedNull, "vmo"),
    Malformed(.getVmoInfo, "0 handles", [0], at: 36, .envelopeHandleCount, "vmo", 32),
    Malformed(.attach, "no handle", [], at: 32, handles: 0, .missingHandle, "server_end"),
    Malformed(.attach, "presence", [2], at: 32, .invalidPresence, "server_end"),
    Malformed(.attach, "1 handle", [1], at: 44, .envelopeHandleCount, "buffers_remaining", 40),
    Malformed(.awaitReclaimed, "no handle", [], at: 32, handles: 0, .missingHandle, "vmo"),
    Malformed(.awaitReclaimed, "2 handles", [2], at: 36, .envelopeHandleCount, "vmo", 32),
    Malformed(.status, "no handle", [], at: 48, handles: 0, .missingHandle, "response.report"),
    Malformed(.status, "no handle told", [0], at: 28, .envelopeHandleCount, "response", 24),
  ]

  private static let unions = [
    Malformed(.allocateVmoStatus, "no envelope", [UInt8](0), at: 24, .unexpectedNull, "body"),
    Malformed(.allocateVmoStatus, "flag", [0], at: 30, .notInlined, "err", 24),
    Malformed(.allocateVmoStatus, "flags", [2], at: 30, .invalidEnvelopeFlags, "err", 24),
    Malformed(.allocateVmoStatus, "1 handle", [1], at: 28, .envelopeHandleCount, "err", 24),
    Malformed(.allocatedVmo, "flag", [0], at: 30, .notInlined, "response.vmo", 24),
    Malformed(.vmoInfo, "flag", [1], at: 30, .inlined, "response", 24),
    Malformed(.vmoInfo, "bytes", [0x38], at: 24, .envelopeByteCount, "response"),
    Malformed(
      .vmoInfo, "bytes", [16], at: 48, .envelopeByteCount, "response.buffer_collection_id"),
    Malformed(.vmoInfoUnknown, "flag", [0], at: 30, .notInlined, "framework_err", 24),
    Malformed(.attachError, "1 handle", [1], at: 28, .envelopeHandleCount, "err", 24),
    Malformed(.statusError, "flags", [1], at: 31, .invalidEnvelopeFlags, "err", 24),
  ]

  private static let absent = [
    Malformed(
      .getVmoInfo, "no vmo", [UInt8](0), at: 32, handles: 0, .absent, "vmo", 16),
    Malformed(
      .awaitReclaimed, "no vmo", [UInt8](0), at: 32, handles: 0, .absent, "vmo", 16),
    Malformed(
      .attach, "no server end", [UInt8](0), at: 32, handles: 0, .absent, "server_end", 16),
    Malformed(.attach, "no number", [UInt8](0), at: 40, .absent, "buffers_remaining", 16),
    Malformed(
      .onRegister, "no need_clear", [UInt8](0), at: 40, .absent, "properties.need_clear", 16),
    Malformed(
      .onRegister, "no cpu_supported", [UInt8](0), at: 72, .absent,
      "properties.coherency_domain_support.cpu_supported", 56),
    Malformed(
      .onRegister, "no ram_supported", [UInt8](0), at: 80, .absent,
      "properties.coherency_domain_support.ram_supported", 56),
    Malformed(
      .onRegister, "no inaccessible_supported", [UInt8](0), at: 88, .absent,
      "properties.coherency_domain_support.inaccessible_supported", 56),
  ]
}
