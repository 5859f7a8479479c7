/// A walk through a message that reads it or writes it, so that each type says its layout once.
///
/// Objects follow each other depth-first, in the order of their fields. Reading looks for no object
/// where an offset says: each begins where the one before it ended, so nothing can point outside the
/// message, backwards or twice to one place. Writing throws only where a count exceeds its bound.
struct WireCoder: ~Escapable {
  /// Else values are written.
  private let isReading: Bool
  /// What is read.
  private let message: RawSpan
  /// What has been written.
  private var bytes: [UInt8] = []
  /// Where the next object begins that is not in line. A multiple of 8, within the message.
  private var next = 0
  /// Those that came with the message, or that may go with it.
  private let handleCount: Int
  /// Those that were mentioned.
  private var handles = 0
  private var depth = 0
  /// The table whose fields are gone through.
  private var table = Table()

  private struct Table {
    /// Where the first field's envelope stands; nil while fields are only counted.
    var envelopes: Int?
    /// The highest field that is present.
    var count = 0
    /// The next to be read, from 1.
    var ordinal = 1
    /// The first obligatory field that is not there.
    var absent: StaticString?
  }

  // MARK: A whole message

  /// Past the header, which has to have `ordinal`.
  @_lifetime(copy message)
  init(reading message: RawSpan, handleCount: Int, of ordinal: MessageOrdinal) throws(WireError) {
    let header = try MessageHeader(decoding: message)
    guard handleCount <= WireLimits.maxHandles else {
      throw WireError(.tooManyHandles, at: message.byteCount, in: "message")
    }
    guard header.ordinal == ordinal else { throw WireError(.wrongOrdinal, at: 8, in: "ordinal") }
    isReading = true
    self.message = message
    self.handleCount = handleCount
    next = MessageHeader.byteCount
  }

  @_lifetime(immortal)
  private init() {
    isReading = false
    message = RawSpan()
    handleCount = WireLimits.maxHandles
  }

  /// Replaces what `buffer` holds with the header and a body that is one value.
  static func write<Body: WireValue>(
    _ header: MessageHeader, _ body: Body, into buffer: inout [UInt8]
  ) throws(WireError) {
    var coder = WireCoder()
    var body = body
    let words = header.words
    swap(&coder.bytes, &buffer)
    coder.bytes.removeAll(keepingCapacity: true)
    _ = try coder.claim(UInt64(MessageHeader.byteCount))
    coder.put(words.0, at: 0)
    coder.put(words.1, at: 8)
    try coder.body(&body)
    swap(&coder.bytes, &buffer)
  }

  /// The body, which is one value.
  @_lifetime(self: copy self)
  mutating func body<Body: WireValue>(_ body: inout Body) throws(WireError) {
    do throws(WireError) {
      let start = try claim(UInt64(Body.byteCount))
      try body.code(&self, at: start)
    } catch {
      throw error.field.isEmpty ? error.within("body") : error
    }
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

  // MARK: What is in line

  @_lifetime(self: copy self)
  mutating func number<Number: FixedWidthInteger & BitwiseCopyable>(
    _ number: inout Number, at offset: Int
  ) {
    if isReading { number = message.number(at: offset) } else { put(number, at: offset) }
  }

  @_lifetime(self: copy self)
  private mutating func put<Number: FixedWidthInteger & BitwiseCopyable>(
    _ number: Number, at offset: Int
  ) {
    var span = bytes.mutableSpan
    // Any bytes make a [UInt8].
    var raw = unsafe span.mutableBytes
    raw.storeBytes(of: number.littleEndian, toByteOffset: offset, as: Number.self)
  }

  private func word(at offset: Int) -> UInt64 { message.number(at: offset) }

  /// Throws at the first byte that is not 0; what is written is 0 already.
  func padding(_ range: Range<Int>) throws(WireError) {
    guard isReading else { return }
    for offset in range where message.number(at: offset) != 0 as UInt8 {
      throw WireError(.nonzeroPadding, at: offset)
    }
  }

  /// The next handle, which the message mentions at `offset`.
  @_lifetime(self: copy self)
  mutating func handle(_ index: inout HandleIndex, at offset: Int) throws(WireError) {
    index = HandleIndex(rawValue: handles)
    try takeHandles(1, at: offset)
  }

  @_lifetime(self: copy self)
  private mutating func takeHandles(_ count: Int, at offset: Int) throws(WireError) {
    guard count <= handleCount - handles else { throw WireError(.missingHandle, at: offset) }
    handles += count
  }

  /// A struct's field.
  @_lifetime(self: copy self)
  mutating func field<Value: WireValue>(
    _ name: StaticString, _ value: inout Value, at offset: Int
  ) throws(WireError) {
    do throws(WireError) { try value.code(&self, at: offset) } catch {
      throw error.within("\(name)")
    }
  }

  /// Which member the union at `offset` has; it is `ordinal` that is written.
  @_lifetime(self: copy self)
  mutating func union(_ ordinal: UInt64, at offset: Int) throws(WireError) -> UInt64 {
    var ordinal = ordinal
    number(&ordinal, at: offset)
    guard ordinal != 0 else { throw WireError(.unexpectedNull, at: offset) }
    if isReading && word(at: offset + 8) == 0 { throw WireError(.unexpectedNull, at: offset + 8) }
    return ordinal
  }

  /// The member of the union at `offset`; it is `value` that is written.
  @_lifetime(self: copy self)
  mutating func member<Value: WireValue>(
    _ name: StaticString, _ value: Value?, at offset: Int
  ) throws(WireError) -> Value {
    try contents(name, value, at: offset + 8)
  }

  // MARK: Tables

  /// The table at `offset`. Its fields are written in two rounds: the highest one that is present
  /// decides where the first has its place.
  @_lifetime(self: copy self)
  mutating func table<Value: WireTable>(_ value: inout Value, at offset: Int) throws(WireError) {
    let outer = table
    table = Table()
    if !isReading { try value.fields(&self) }
    var count = UInt64(table.count)
    try self.count(&count, at: offset)
    let envelopes = try descend(to: count, of: 8)
    table = Table(envelopes: envelopes, count: Int(count))
    try value.fields(&self)
    try skipFields(before: .max)
    if let absent = table.absent { throw WireError(.absent, at: offset, in: "\(absent)") }
    depth -= 1
    table = outer
  }

  /// A field that may be absent, which is nil.
  @_lifetime(self: copy self)
  mutating func field<Value: WireValue>(
    _ ordinal: Int, _ name: StaticString, _ value: inout Value?
  ) throws(WireError) {
    guard let offset = try envelope(ordinal, isPresent: value != nil) else { return }
    value = try contents(name, value, at: offset)
  }

  /// A field that has to be there.
  @_lifetime(self: copy self)
  mutating func required<Value: WireValue>(
    _ ordinal: Int, _ name: StaticString, _ value: inout Value
  ) throws(WireError) {
    var optional: Value? = isReading ? nil : value
    try field(ordinal, name, &optional)
    if let optional { value = optional } else { table.absent = table.absent ?? name }
  }

  /// A string of at most so many bytes.
  @_lifetime(self: copy self)
  mutating func string(
    _ ordinal: Int, _ name: StaticString, _ value: inout String?, atMost bound: Int
  ) throws(WireError) {
    var characters = value.map { Array($0.utf8) }
    try vector(ordinal, name, &characters, atMost: bound)
    guard isReading, let characters else { return }
    value = String(validating: characters, as: UTF8.self)
    guard value != nil else {
      // They are the object that was read last.
      let start = next - (characters.count + 7) & ~7
      throw WireError(.invalidUTF8, at: start, in: "\(name)")
    }
  }

  /// A vector of at most so many elements; the bound is checked before all else.
  @_lifetime(self: copy self)
  mutating func vector<Element: WireValue>(
    _ ordinal: Int, _ name: StaticString, _ value: inout [Element]?, atMost bound: Int
  ) throws(WireError) {
    guard let offset = try envelope(ordinal, isPresent: value != nil) else { return }
    do throws(WireError) {
      let envelope = try open(offset, byteCount: 16)
      var elements = value ?? []
      var count = UInt64(elements.count)
      try self.count(&count, at: envelope.contents)
      guard count <= UInt64(bound) else { throw WireError(.countOverBound, at: envelope.contents) }
      let start = try descend(to: count, of: Element.byteCount)
      if isReading { elements = Array(repeating: Element(), count: Int(count)) }
      for index in elements.indices {
        let offset = start + index * Element.byteCount
        do throws(WireError) { try elements[index].code(&self, at: offset) } catch {
          throw error.within("[\(index)]")
        }
      }
      value = elements
      depth -= 1
      try close(envelope)
    } catch {
      throw error.within("\(name)")
    }
  }

  /// Where a field's envelope stands; nil where it has none, and while fields are only counted.
  @_lifetime(self: copy self)
  private mutating func envelope(_ ordinal: Int, isPresent: Bool) throws(WireError) -> Int? {
    guard let envelopes = table.envelopes else {
      if isPresent { table.count = ordinal }
      return nil
    }
    let offset = envelopes + 8 * (ordinal - 1)
    guard isReading else { return isPresent ? offset : nil }
    try skipFields(before: ordinal)
    guard ordinal <= table.count else { return nil }
    table.ordinal = ordinal + 1
    return word(at: offset) == 0 ? nil : offset
  }

  /// Passes over fields that a later version of the protocol added, with all that is nested.
  @_lifetime(self: copy self)
  private mutating func skipFields(before ordinal: Int) throws(WireError) {
    guard isReading, let envelopes = table.envelopes else { return }
    while table.ordinal < ordinal && table.ordinal <= table.count {
      do throws(WireError) { try skip(envelopes + 8 * (table.ordinal - 1)) } catch {
        throw error.within("#\(table.ordinal)")
      }
      table.ordinal += 1
    }
  }

  @_lifetime(self: copy self)
  private mutating func skip(_ offset: Int) throws(WireError) {
    let word = word(at: offset)
    if word == 0 { return }
    if word >> 48 == 0 {
      let byteCount = UInt32(truncatingIfNeeded: word)
      // Of handles alone it may be 0.
      guard byteCount.isMultiple(of: 8) else {
        throw WireError(.envelopeByteCount, at: offset)
      }
      _ = try claim(UInt64(byteCount))
    } else if word >> 48 != 1 {
      throw WireError(.invalidEnvelopeFlags, at: offset)
    }
    try takeHandles(Int(UInt16(truncatingIfNeeded: word >> 32)), at: offset)
  }

  // MARK: Envelopes

  /// How a table's field or a union's member is carried: {value, handles, 1} or {bytes, handles, 0}.
  private struct Envelope {
    let offset: Int
    /// Where the contents stand: in the envelope's own first bytes where they are in line.
    let contents: Int
    /// Those mentioned before.
    let handles: Int

    var isInlined: Bool { contents == offset }
  }

  /// What the envelope at `offset` holds; it is `value` that is written.
  @_lifetime(self: copy self)
  private mutating func contents<Value: WireValue>(
    _ name: StaticString, _ value: Value?, at offset: Int
  ) throws(WireError) -> Value {
    var value = value ?? Value()
    do throws(WireError) {
      let envelope = try open(offset, byteCount: Value.byteCount)
      try value.code(&self, at: envelope.contents)
      try close(envelope)
      return value
    } catch {
      throw error.within("\(name)")
    }
  }

  @_lifetime(self: copy self)
  private mutating func open(_ offset: Int, byteCount: Int) throws(WireError) -> Envelope {
    let isInlined = byteCount <= 4
    if isReading {
      switch (word(at: offset) >> 48, isInlined) {
      case (0, false), (1, true): break
      case (0, true): throw WireError(.notInlined, at: offset)
      case (1, false): throw WireError(.inlined, at: offset)
      default: throw WireError(.invalidEnvelopeFlags, at: offset)
      }
    }
    if isInlined { try padding(offset + byteCount..<offset + 4) }
    let contents = try isInlined ? offset : descend(to: 1, of: byteCount)
    return Envelope(offset: offset, contents: contents, handles: handles)
  }

  @_lifetime(self: copy self)
  private mutating func close(_ envelope: Envelope) throws(WireError) {
    let byteCount = UInt32(next - envelope.contents)
    let handleCount = UInt16(handles - envelope.handles)
    if isReading {
      let word = word(at: envelope.offset)
      guard envelope.isInlined || UInt32(truncatingIfNeeded: word) == byteCount else {
        throw WireError(.envelopeByteCount, at: envelope.offset)
      }
      guard UInt16(truncatingIfNeeded: word >> 32) == handleCount else {
        throw WireError(.envelopeHandleCount, at: envelope.offset)
      }
    } else {
      if !envelope.isInlined { put(byteCount, at: envelope.offset) }
      put(handleCount, at: envelope.offset + 4)
      put(envelope.isInlined ? 1 : 0 as UInt16, at: envelope.offset + 6)
    }
    if !envelope.isInlined { depth -= 1 }
  }

  // MARK: What is not in line

  /// The count of a table, string or vector, none of which can be null in these messages.
  @_lifetime(self: copy self)
  private mutating func count(_ count: inout UInt64, at offset: Int) throws(WireError) {
    var presence = UInt64.max
    number(&presence, at: offset + 8)
    switch presence {
    case .max: number(&count, at: offset)
    case 0: throw WireError(.unexpectedNull, at: offset + 8)
    default: throw WireError(.invalidPresence, at: offset + 8)
    }
  }

  /// Enters an object of so many parts; returns where it begins.
  @_lifetime(self: copy self)
  private mutating func descend(to count: UInt64, of byteCount: Int) throws(WireError) -> Int {
    guard !isReading || depth < WireLimits.maxDepth else { throw WireError(.tooDeep, at: next) }
    depth += 1
    // A size that overflows is not in the message either.
    let (size, isTooLarge) = count.multipliedReportingOverflow(by: UInt64(byteCount))
    return try claim(isTooLarge ? .max : size)
  }

  /// Takes the next object and its padding; returns where it begins.
  @_lifetime(self: copy self)
  private mutating func claim(_ byteCount: UInt64) throws(WireError) -> Int {
    let start = next
    // The message is short, so nothing after this can overflow.
    guard !isReading || byteCount <= UInt64((message.byteCount - start) & ~7) else {
      throw WireError(.truncated, at: start)
    }
    let end = start + Int(byteCount)
    next = (end + 7) & ~7
    if !isReading { bytes.append(contentsOf: repeatElement(0, count: next - start)) }
    try padding(end..<next)
    return start
  }
}

extension RawSpan {
  /// Little-endian. Traps where the span does not hold the number.
  func number<Number: FixedWidthInteger & BitwiseCopyable>(at offset: Int) -> Number {
    // Any bytes are a number.
    Number(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: Number.self))
  }
}
