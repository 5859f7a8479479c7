/// Which buffer of its heap a buffer is: its collection, and its place there. Any two numbers.
///
/// As text it is the name that the buffer carries in the kernel, for every tool that lists dma-bufs:
/// `lh:COLLECTION.INDEX`, both in base 36. Two 64-bit numbers have at most 13 digits each, and the
/// 30 bytes fit the 31 of `DMA_BUF_SET_NAME`. Any holder of a dma-buf can change its name, so a name
/// is a hint; ``Heap/info(of:)`` is certain.
public struct BufferKey: Hashable, Sendable {
  public var bufferCollectionID: UInt64
  public var bufferIndex: UInt64

  public init(bufferCollectionID: UInt64, bufferIndex: UInt64) {
    self.bufferCollectionID = bufferCollectionID
    self.bufferIndex = bufferIndex
  }

  /// Nil for a name of another form.
  public init?(parsing text: String) {
    guard text.hasPrefix("lh:") else { return nil }
    let parts = text.dropFirst(3).split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, let id = UInt64(parts[0], radix: 36),
      let index = UInt64(parts[1], radix: 36)
    else { return nil }
    self.init(bufferCollectionID: id, bufferIndex: index)
    // One buffer, one spelling: no signs, capitals or leading zeros.
    guard description == text else { return nil }
  }
}

extension BufferKey: CustomStringConvertible {
  public var description: String {
    unsafe withCString { unsafe String(cString: $0) }
  }

  /// Lends the text to the kernel: each allocation needs it, and a `String` in between would double what it costs.
  func withCString<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
    // Written from the last digit to the first, as division gives them.
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 31) { text in
      var start = text.count
      func put(_ byte: UInt8) {
        start -= 1
        unsafe text[start] = CChar(bitPattern: byte)
      }
      func put(_ number: UInt64) {
        var rest = number
        repeat {
          let digit = UInt8(rest % 36)
          put(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
          rest /= 36
        } while rest > 0
      }
      put(UInt8(0))
      put(bufferIndex)
      put(UInt8(ascii: "."))
      put(bufferCollectionID)
      for byte in ":hl".utf8 { put(byte) }
      return unsafe body(text.baseAddress! + start)
    }
  }
}
