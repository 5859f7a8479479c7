import Testing

@testable import HeapProtocol

/// Each cause at each place where settings can have it.
@Suite struct MalformedSettingsTests {
  private static let sample = Sample.allocateVmoFull

  /// The refusal of the message with other bytes at `offset`.
  private static func refusal(_ bytes: [UInt8], at offset: Int) -> WireError? {
    sample.refusal(sample.bytes.with(bytes, at: offset))
  }

  @Test(arguments: Sample.envelopes)
  func `an envelope's flags are 0 or 1`(_ envelope: Sample.Envelope) {
    for flags: [UInt8] in [[2, 0], [3, 0], [0, 1], [1, 1], [0xff, 0xff]] {
      let error = Self.refusal(flags, at: envelope.offset + 6)
      #expect(error == WireError(.invalidEnvelopeFlags, at: envelope.offset, in: envelope.field))
    }
  }

  @Test(arguments: Sample.envelopes)
  func `an envelope's flag is that of its size`(_ envelope: Sample.Envelope) {
    let sample = Self.sample.bytes
    if envelope.isInlined {
      // A value of 0 would be no envelope at all.
      let bytes = sample.with([1, 0, 0, 0, 0, 0, 0, 0], at: envelope.offset)
      let expected = WireError(.notInlined, at: envelope.offset, in: envelope.field)
      #expect(Self.sample.refusal(bytes) == expected)
    } else {
      let error = Self.refusal([1], at: envelope.offset + 6)
      #expect(error == WireError(.inlined, at: envelope.offset, in: envelope.field))
    }
  }

  @Test(arguments: Sample.envelopes.filter { !$0.isInlined })
  func `an envelope's bytes are those of its contents`(_ envelope: Sample.Envelope) {
    let count = Self.sample.bytes[envelope.offset]
    for wrong: [UInt8] in [[count + 8], [count - 8], [count + 1], [count, 0, 0, 1]] {
      guard wrong != [0] else { continue }
      let error = Self.refusal(wrong, at: envelope.offset)
      #expect(error == WireError(.envelopeByteCount, at: envelope.offset, in: envelope.field))
    }
  }

  @Test(arguments: Sample.envelopes)
  func `an envelope's handles are those of its contents`(_ envelope: Sample.Envelope) {
    for wrong: [UInt8] in [[1, 0], [0, 1], [0xff, 0xff]] {
      let bytes = Self.sample.bytes.with(wrong, at: envelope.offset + 4)
      let expected = WireError(.envelopeHandleCount, at: envelope.offset, in: envelope.field)
      for handles in [0, 1, 64] {
        #expect(Self.sample.refusal(bytes, handles: handles) == expected)
      }
    }
  }

  @Test(arguments: Sample.counted)
  func `nothing that has a count is null`(_ object: Sample.Counted) {
    let offset = object.offset + 8
    let error = Self.refusal([UInt8](0), at: offset)
    #expect(error == WireError(.unexpectedNull, at: offset, in: object.field))
    for presence: UInt64 in [1, .max - 1, .max >> 8, 1 << 63] {
      let error = Self.refusal([UInt8](presence), at: offset)
      #expect(error == WireError(.invalidPresence, at: offset, in: object.field))
    }
  }

  @Test(arguments: Sample.counted.filter { $0.bound != nil })
  func `a bound is held`(_ object: Sample.Counted) throws {
    let bound = try #require(object.bound)
    for count in [bound + 1, 1 << 32, 1 << 60, 1 << 61, .max >> 1, .max] {
      let error = Self.refusal([UInt8](count), at: object.offset)
      #expect(error == WireError(.countOverBound, at: object.offset, in: object.field))
    }
    let error = Self.refusal([UInt8](bound), at: object.offset)
    #expect(error != nil && error?.fault != .countOverBound)
  }

  @Test(arguments: Sample.counted.filter { $0.bound == nil })
  func `a table that does not fit is refused`(_ object: Sample.Counted) throws {
    // Envelopes begin where the object before them ends.
    let envelopes = object.offset == 24 ? 56 : object.offset + 16
    let most = UInt64((Self.sample.bytes.count - envelopes) / 8)
    for count in [most + 1, 1 << 32, 1 << 60, 1 << 61, (1 << 61) + 1, .max >> 1, .max] {
      let error = Self.refusal([UInt8](count), at: object.offset)
      #expect(error == WireError(.truncated, at: envelopes, in: object.field))
    }
    let error = Self.refusal([UInt8](most), at: object.offset)
    #expect(error != nil && error?.offset != envelopes)
  }

  @Test(
    arguments: [
      (96, "buffer_settings.is_physically_contiguous"), (104, "buffer_settings.is_secure"),
      (360, "image_format_constraints.require_bytes_per_row_at_pixel_boundary"),
      (368, "image_format_constraints.is_alpha_present"),
    ])
  func `a bool is 0 or 1`(_ offset: Int, _ field: String) {
    for byte: UInt8 in [2, 0x80, 0xff] {
      let error = Self.refusal([byte], at: offset)
      #expect(error == WireError(.invalidBool, at: offset, in: "settings.\(field)"))
    }
    for padding in offset + 1...offset + 3 {
      let error = Self.refusal([1], at: padding)
      #expect(error == WireError(.nonzeroPadding, at: padding, in: "settings.\(field)"))
    }
  }

  @Test(
    arguments: [
      (201..<208, "buffer_settings.heap.heap_type"),
      (436..<440, "image_format_constraints.color_spaces"),
      (516..<520, "image_format_constraints.pixel_format_and_modifiers[0]"),
      (532..<536, "image_format_constraints.pixel_format_and_modifiers[1]"),
    ])
  func `padding is 0`(_ range: Range<Int>, _ field: String) {
    for offset in range {
      for byte: UInt8 in [1, 0x80] {
        let error = Self.refusal([byte], at: offset)
        #expect(error == WireError(.nonzeroPadding, at: offset, in: "settings.\(field)"))
      }
    }
  }

  @Test(
    arguments: [
      // A character that ends too early, a half, one too long, a surrogate, beyond the last.
      [0x73, 0xc3, 0x73], [0x73, 0xa8, 0x73], [0xc0, 0x80], [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80], [0xff],
    ] as [[UInt8]])
  func `a string is UTF-8`(_ bytes: [UInt8]) {
    let error = Self.refusal(bytes, at: 192)
    let field = "settings.buffer_settings.heap.heap_type"
    #expect(error == WireError(.invalidUTF8, at: 192, in: field))
  }

  @Test func `an error says where and what`() {
    let error = Self.refusal([2], at: 96)
    let field = "settings.buffer_settings.is_physically_contiguous"
    #expect("\(error!)" == "\(field), at byte 96: a bool is neither 0 nor 1")
    #expect(Set(WireError.Fault.allCases.map { "\($0)" }).count == WireError.Fault.allCases.count)
  }
}
