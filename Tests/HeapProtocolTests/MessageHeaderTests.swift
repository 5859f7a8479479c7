import HeapProtocol
import Testing

@Suite struct MessageHeaderTests {
  private static let bytes = Sample.deletedVmo.bytes

  private static func refusal(_ bytes: [UInt8]) -> WireError? {
    do throws(WireError) {
      _ = try MessageHeader(decoding: bytes.message)
      return nil
    } catch {
      return error
    }
  }

  @Test func `any ordinal and any transaction will do`() throws {
    let bytes = [UInt8](0x0100_0002_ffff_ffff, 0x8000_0000_0000_0001)
    let header = try MessageHeader(decoding: bytes.message)
    let ordinal = MessageOrdinal(rawValue: 0x8000_0000_0000_0001)
    #expect(header == MessageHeader(transactionID: .max, ordinal: ordinal))
  }

  @Test(arguments: [(0x00, false), (0x80, true), (0x7f, false), (0xff, true)] as [(UInt8, Bool)])
  func `one dynamic flag has a meaning`(_ flags: UInt8, _ isFlexible: Bool) throws {
    let header = try MessageHeader(decoding: Self.bytes.with([flags], at: 6).message)
    #expect(header.isFlexible == isFlexible)
  }

  @Test(arguments: [[0, 0], [3, 0], [2, 1], [0, 2]] as [[UInt8]])
  func `another format is refused`(_ flags: [UInt8]) {
    let error = Self.refusal(Self.bytes.with(flags, at: 4))
    #expect(error?.fault == .wrongAtRestFlags)
    #expect(error?.offset == 4)
    #expect(error?.field == "at_rest_flags")
  }

  @Test(arguments: [0, 2, 0x81, 0xff] as [UInt8])
  func `another magic number is refused`(_ magic: UInt8) {
    let error = Self.refusal(Self.bytes.with([magic], at: 7))
    #expect(error?.fault == .wrongMagic)
    #expect(error?.offset == 7)
    #expect(error?.field == "magic_number")
  }

  @Test func `half a header is refused`() {
    for count in 0..<MessageHeader.byteCount {
      let error = Self.refusal(Array(Self.bytes.prefix(count)))
      #expect(error?.fault == .truncated)
      #expect(error?.offset == 0)
      #expect(error?.field == "header")
    }
  }

  @Test func `a message has a longest length`() {
    let padding = [UInt8](repeating: 0, count: 65_520)
    #expect(Self.refusal(Self.bytes + padding) == nil)
    let error = Self.refusal(Self.bytes + padding + [0])
    #expect(error?.fault == .tooManyBytes)
    #expect(error?.offset == 65_536)
    #expect(error?.field == "message")
  }

  @Test(arguments: Sample.all)
  func `a header is looked at in each message`(_ sample: Sample) {
    #expect(sample.refusal(sample.bytes.with([0], at: 4))?.fault == .wrongAtRestFlags)
    #expect(sample.refusal(sample.bytes.with([0], at: 7))?.fault == .wrongMagic)
    let long = sample.bytes + [UInt8](repeating: 0, count: 65_536)
    #expect(sample.refusal(long)?.fault == .tooManyBytes)
  }
}
