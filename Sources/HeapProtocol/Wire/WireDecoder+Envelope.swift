/// How a table's field or a union's member is carried: {value, handles, 1} or {bytes, handles, 0}.
struct Envelope {
  let ordinal: Int
  /// Where it stands.
  let offset: Int
  /// Its eight bytes.
  let word: UInt64

  /// Bytes of the contents, with all that is nested.
  var byteCount: Int { Int(UInt32(truncatingIfNeeded: word)) }
  var handleCount: Int { Int(UInt16(truncatingIfNeeded: word >> 32)) }

  func isInlined() throws(WireError) -> Bool {
    switch word >> 48 {
    case 0: return false
    case 1: return true
    default: throw WireError(.invalidEnvelopeFlags, at: offset)
    }
  }
}

extension WireDecoder {
  /// What a known envelope holds.
  mutating func field<Value: WireValue>(
    _ envelope: Envelope, _ name: StaticString
  ) throws(WireError) -> Value {
    do throws(WireError) { return try contents(envelope) } catch {
      throw error.within("\(name)")
    }
  }

  /// A string of at most so many bytes.
  mutating func string(
    _ envelope: Envelope, _ name: StaticString, atMost bound: Int
  ) throws(WireError) -> String {
    do throws(WireError) {
      let opened = try open(envelope, byteCount: 16)
      let characters = try claimElements(opened.contents, of: 1, atMost: bound)
      let string = try string(at: characters.start, byteCount: characters.count)
      ascend()
      try close(opened)
      return string
    } catch {
      throw error.within("\(name)")
    }
  }

  /// A vector of at most so many elements.
  mutating func vector<Element: WireValue>(
    _ envelope: Envelope, _ name: StaticString, atMost bound: Int
  ) throws(WireError) -> [Element] {
    do throws(WireError) {
      let opened = try open(envelope, byteCount: 16)
      let elements = try claimElements(opened.contents, of: Element.byteCount, atMost: bound)
      var vector: [Element] = []
      vector.reserveCapacity(elements.count)
      for index in 0..<elements.count {
        do throws(WireError) {
          let offset = elements.start + index * Element.byteCount
          vector.append(try Element(from: &self, at: offset))
        } catch {
          throw error.within("[\(index)]")
        }
      }
      ascend()
      try close(opened)
      return vector
    } catch {
      throw error.within("\(name)")
    }
  }

  /// Passes over an envelope that a later version of the protocol added, with all that is nested.
  mutating func skip(_ envelope: Envelope) throws(WireError) {
    do throws(WireError) {
      if try !envelope.isInlined() {
        guard envelope.byteCount > 0, envelope.byteCount.isMultiple(of: 8) else {
          throw WireError(.envelopeByteCount, at: envelope.offset)
        }
        _ = try claim(UInt64(envelope.byteCount))
      }
      try skipHandles(envelope.handleCount, at: envelope.offset)
    } catch {
      throw error.within("#\(envelope.ordinal)")
    }
  }

  private mutating func contents<Value: WireValue>(
    _ envelope: Envelope
  ) throws(WireError) -> Value {
    if Value.byteCount <= 4 {
      guard try envelope.isInlined() else { throw WireError(.notInlined, at: envelope.offset) }
      let before = handles
      try checkPadding(envelope.offset + Value.byteCount..<envelope.offset + 4)
      let value = try Value(from: &self, at: envelope.offset)
      guard handles - before == envelope.handleCount else {
        throw WireError(.envelopeHandleCount, at: envelope.offset)
      }
      return value
    }
    let opened = try open(envelope, byteCount: Value.byteCount)
    let value = try Value(from: &self, at: opened.contents)
    try close(opened)
    return value
  }

  /// An envelope whose contents, which are not in line, are being read.
  private struct Opened {
    let envelope: Envelope
    let contents: Int
    let handles: Int
  }

  private mutating func open(_ envelope: Envelope, byteCount: Int) throws(WireError) -> Opened {
    guard try !envelope.isInlined() else { throw WireError(.inlined, at: envelope.offset) }
    try descend()
    return Opened(envelope: envelope, contents: try claim(UInt64(byteCount)), handles: handles)
  }

  private mutating func close(_ opened: Opened) throws(WireError) {
    guard next - opened.contents == opened.envelope.byteCount else {
      throw WireError(.envelopeByteCount, at: opened.envelope.offset)
    }
    guard handles - opened.handles == opened.envelope.handleCount else {
      throw WireError(.envelopeHandleCount, at: opened.envelope.offset)
    }
    ascend()
  }

  /// Enters what the string or vector at `offset` refers to; the bound is checked before all else.
  private mutating func claimElements(
    _ offset: Int, of byteCount: Int, atMost bound: Int
  ) throws(WireError) -> (start: Int, count: Int) {
    let count = try count(at: offset)
    guard count <= UInt64(bound) else { throw WireError(.countOverBound, at: offset) }
    try descend()
    return (try claim(count * UInt64(byteCount)), Int(count))
  }
}
