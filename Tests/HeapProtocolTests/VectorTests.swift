import HeapProtocol
import Testing

@Suite struct VectorTests {
  @Test(arguments: Sample.all)
  func `a message has these bytes`(_ sample: Sample) {
    #expect(sample.message.encoded(sample.transactionID).hex == sample.bytes.hex)
  }

  @Test(arguments: Sample.all)
  func `these bytes are the message`(_ sample: Sample) throws {
    func check<Kind: Message>(_ message: Kind) throws {
      #expect(try Kind(sample.bytes, handles: sample.handles) == message)
    }
    try check(sample.message)
  }

  @Test(arguments: Sample.all)
  func `a header tells the messages apart`(_ sample: Sample) throws {
    let header = try MessageHeader(decoding: sample.bytes.message)
    #expect(header.transactionID == sample.transactionID)
    let isStrict = Sample.heap.contains { $0.testDescription == sample.testDescription }
    #expect(header.isFlexible == !isStrict)
    for other in Sample.all {
      let isSame = try MessageHeader(decoding: other.bytes.message).ordinal == header.ordinal
      let error = sample.refusal(other.bytes, handles: other.handles)
      #expect((error?.fault == .wrongOrdinal) == !isSame)
      if !isSame { #expect(error?.offset == 8 && error?.field == "ordinal") }
    }
  }

  @Test func `a method that is not known is answered in kind`() throws {
    var buffer: [UInt8] = []
    MessageHeader(transactionID: 10, ordinal: MessageOrdinal(rawValue: 0x0123_4567_89ab_cdef))
      .encodeUnknownMethodReply(into: &buffer)
    let expected = "0a00000002008001efcdab89674523010300000000000000feffffff00000100"
    #expect(buffer.hex == expected)
    MessageHeader(transactionID: 10, ordinal: .getStatus).encodeUnknownMethodReply(into: &buffer)
    #expect(try GetStatusReply(buffer, handles: 0).result == .frameworkError(-2))
  }

  @Test(arguments: Sample.all)
  func `a buffer is used again`(_ sample: Sample) {
    var buffer = [UInt8](repeating: 0xaa, count: 4096)
    let place = buffer.place
    sample.message.encode(transactionID: sample.transactionID, into: &buffer)
    #expect(buffer == sample.bytes)
    #expect(buffer.place == place)
  }
}

extension [UInt8] {
  fileprivate var place: Int {
    unsafe withUnsafeBytes { Int(bitPattern: $0.baseAddress) }
  }
}
