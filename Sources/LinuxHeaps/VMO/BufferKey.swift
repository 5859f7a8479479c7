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
    "lh:\(String(bufferCollectionID, radix: 36)).\(String(bufferIndex, radix: 36))"
  }
}
