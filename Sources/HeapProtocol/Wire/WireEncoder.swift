/// Writes a message into an array that is used again and again.
///
/// What a message cannot carry, a count over its bound, is a fault of the caller and traps.
struct WireEncoder {
  private(set) var bytes: [UInt8]
  /// Those that were mentioned.
  private(set) var handles = 0
  /// The table whose fields are being handed over.
  var openTable = OpenTable.counting(highest: 0)

  /// Replaces what `buffer` holds. The body begins with `bodyByteCount` zeros, which `body` fills.
  static func write(
    _ header: MessageHeader, bodyByteCount: Int, into buffer: inout [UInt8],
    _ body: (inout WireEncoder) -> Void
  ) {
    var encoder = WireEncoder(bytes: [])
    swap(&encoder.bytes, &buffer)
    encoder.bytes.removeAll(keepingCapacity: true)
    _ = encoder.reserve(MessageHeader.byteCount + bodyByteCount)
    header.encode(to: &encoder)
    body(&encoder)
    swap(&encoder.bytes, &buffer)
  }

  /// A message whose body is one value.
  static func write<Body: WireValue>(
    _ header: MessageHeader, body: Body, into buffer: inout [UInt8]
  ) {
    write(header, bodyByteCount: Body.byteCount, into: &buffer) { encoder in
      body.encode(to: &encoder, at: MessageHeader.byteCount)
    }
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  /// Adds an object that is not in line: zeros, with its padding. Returns where it begins.
  mutating func reserve(_ byteCount: Int) -> Int {
    let start = bytes.count
    bytes.append(contentsOf: repeatElement(0, count: (byteCount + 7) & ~7))
    return start
  }

  /// Adds bytes and their padding.
  mutating func append(_ text: String.UTF8View) {
    bytes.append(contentsOf: text)
    bytes.append(contentsOf: repeatElement(0, count: -bytes.count & 7))
  }

  mutating func put<Number: FixedWidthInteger & BitwiseCopyable>(_ number: Number, at offset: Int) {
    var span = bytes.mutableSpan
    // Any bytes make a [UInt8].
    var raw = unsafe span.mutableBytes
    raw.storeBytes(of: number.littleEndian, toByteOffset: offset, as: Number.self)
  }

  mutating func countHandle() { handles += 1 }

  /// Writes an envelope and its contents.
  mutating func envelope<Value: WireValue>(_ value: Value, at offset: Int) {
    guard Value.byteCount <= 4 else {
      return outOfLine(at: offset, byteCount: Value.byteCount) { encoder, contents in
        value.encode(to: &encoder, at: contents)
      }
    }
    let before = handles
    value.encode(to: &self, at: offset)
    put(UInt16(handles - before), at: offset + 4)
    put(1 as UInt16, at: offset + 6)
  }

  mutating func union<Member: WireValue>(_ ordinal: UInt64, _ member: Member, at offset: Int) {
    put(ordinal, at: offset)
    envelope(member, at: offset + 8)
  }

  /// Writes an envelope whose contents are not in line; `contents` fills `byteCount` zeros.
  mutating func outOfLine(
    at offset: Int, byteCount: Int, _ contents: (inout WireEncoder, Int) -> Void
  ) {
    let before = handles
    let start = reserve(byteCount)
    contents(&self, start)
    put(UInt32(bytes.count - start), at: offset)
    put(UInt16(handles - before), at: offset + 4)
  }
}
