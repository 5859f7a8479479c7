/// A walk through a message: objects follow each other depth-first, in the order of their fields.
///
/// No object is looked for where an offset says: each begins where the one before it ended, so
/// nothing can point outside the message, backwards or twice to one place.
struct WireDecoder: ~Escapable {
  private let message: RawSpan
  /// Where the next object begins that is not in line. A multiple of 8, within the message.
  private(set) var next: Int
  private let handleCount: Int
  /// Those that were mentioned.
  private(set) var handles = 0
  private var depth = 0

  /// Past the header, which has to have `ordinal`.
  @_lifetime(copy message)
  init(_ message: RawSpan, handleCount: Int, of ordinal: MessageOrdinal) throws(WireError) {
    let header = try MessageHeader(decoding: message)
    guard handleCount <= WireLimits.maxHandles else {
      throw WireError(.tooManyHandles, at: message.byteCount, in: "message")
    }
    guard header.ordinal == ordinal else { throw WireError(.wrongOrdinal, at: 8, in: "ordinal") }
    self.message = message
    self.handleCount = handleCount
    next = MessageHeader.byteCount
  }

  /// Has to be called when all was read: nothing may be left.
  func finish() throws(WireError) {
    guard next == message.byteCount else {
      throw WireError(.trailingBytes, at: next, in: "message")
    }
    guard handles == handleCount else {
      throw WireError(.surplusHandle, at: next, in: "message")
    }
  }

  func number<Number: FixedWidthInteger & BitwiseCopyable>(
    at offset: Int, as type: Number.Type
  ) -> Number {
    message.number(at: offset, as: type)
  }

  /// Takes the next object and its padding; returns where it begins.
  mutating func claim(_ byteCount: UInt64) throws(WireError) -> Int {
    let start = next
    // The message is short, so nothing after this can overflow.
    guard byteCount <= UInt64(message.byteCount - start) else {
      throw WireError(.truncated, at: start)
    }
    let end = start + Int(byteCount)
    next = (end + 7) & ~7
    guard next <= message.byteCount else { throw WireError(.truncated, at: start) }
    try checkPadding(end..<next)
    return start
  }

  /// Throws at the first byte that is not 0.
  func checkPadding(_ range: Range<Int>) throws(WireError) {
    for offset in range where number(at: offset, as: UInt8.self) != 0 {
      throw WireError(.nonzeroPadding, at: offset)
    }
  }

  /// Enters an object that is not in line.
  mutating func descend() throws(WireError) {
    guard depth < WireLimits.maxDepth else { throw WireError(.tooDeep, at: next) }
    depth += 1
  }

  mutating func ascend() { depth -= 1 }

  /// The next handle, which the message mentions at `offset`.
  mutating func takeHandle(at offset: Int) throws(WireError) -> HandleIndex {
    try skipHandles(1, at: offset)
    return HandleIndex(rawValue: handles - 1)
  }

  /// Passes over handles of contents that are not known.
  mutating func skipHandles(_ count: Int, at offset: Int) throws(WireError) {
    guard count <= handleCount - handles else { throw WireError(.missingHandle, at: offset) }
    handles += count
  }

  /// UTF-8, of bytes that were claimed.
  func string(at offset: Int, byteCount: Int) throws(WireError) -> String {
    let bytes = message.extracting(offset..<offset + byteCount)
    let string = unsafe bytes.withUnsafeBytes { unsafe String(validating: $0, as: UTF8.self) }
    guard let string else { throw WireError(.invalidUTF8, at: offset) }
    return string
  }
}
