import HeapProtocol
import Testing

/// Damage of every kind that is small: no trap, and nothing is half understood.
@Suite struct DamagedMessageTests {
  @Test(arguments: Sample.all)
  func `a message that ends too early is refused`(_ sample: Sample) {
    for count in 0..<sample.bytes.count {
      let error = sample.refusal(Array(sample.bytes.prefix(count)))
      #expect(error?.fault == .truncated)
      #expect(error.map { $0.offset <= count } == true)
    }
  }

  @Test(arguments: Sample.all)
  func `a flipped byte is refused, or is another message`(_ sample: Sample) throws {
    for offset in sample.bytes.indices {
      for flip in (0..<8).map({ 1 << $0 }) + [0xff] as [UInt8] {
        let damaged = sample.bytes.with([sample.bytes[offset] ^ flip], at: offset)
        guard let message = try? sample.decode(damaged, handles: sample.handles) else { continue }
        // What was understood can be said: shorter by absent fields at a table's end, if at all.
        let canonical = message.encoded(sample.transactionID)
        #expect(canonical.count <= damaged.count)
        let again = try sample.decode(canonical, handles: sample.handles)
        #expect(AnyHashable(again) == AnyHashable(message))
        #expect(again.encoded(sample.transactionID) == canonical)
        if canonical.count == damaged.count && offset >= MessageHeader.byteCount {
          #expect(canonical == damaged)
        }
      }
    }
  }
}
