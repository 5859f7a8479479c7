/// Why bytes are not the message that they were taken for.
public struct WireError: Error, Hashable, Sendable {
  /// The path to the field, e.g. `settings.buffer_settings.size_bytes`, in the names of the
  /// protocol's definition; `message`, `header` and `body` where a whole one is meant, `#7` for an
  /// unknown field of ordinal 7, `[2]` for an element, `response`, `err` and `framework_err` for a
  /// result's members.
  public let field: String
  /// Bytes from the message's start to what is wrong.
  ///
  /// For ``Fault/truncated``, to the object that does not fit; for ``Fault/absent``, to the table;
  /// for what is wrong with an envelope, to the envelope; for ``Fault/surplusHandle``, to the
  /// message's end.
  public let offset: Int
  /// What is wrong there.
  public let fault: Fault

  /// Each way in which a message can be malformed, in plain words.
  public enum Fault: String, Hashable, Sendable, CaseIterable {
    /// The message ends inside an object, or before it.
    case truncated = "the message ends too early"
    case trailingBytes = "bytes follow the last object"
    /// Of ``WireLimits/maxBytes``.
    case tooManyBytes = "more than 65536 bytes"
    /// Of ``WireLimits/maxHandles``.
    case tooManyHandles = "more than 64 handles"
    /// Of ``WireLimits/maxDepth``.
    case tooDeep = "more than 32 objects inside one another"
    case wrongMagic = "the magic number is not 1"
    case wrongAtRestFlags = "the wire format is not version 2"
    /// It was decoded as another message than it is.
    case wrongOrdinal = "the ordinal is that of another message"
    /// A byte that only fills up.
    case nonzeroPadding = "padding is not 0"
    case invalidBool = "a bool is neither 0 nor 1"
    case invalidPresence = "a presence is neither 0 nor all ones"
    case unexpectedNull = "null where a value is obligatory"
    /// A table's, without which the message means nothing.
    case absent = "an obligatory field is absent"
    case unknownMember = "the union has no such member"
    case invalidEnvelopeFlags = "an envelope's flags are neither 0 nor 1"
    case notInlined = "a value of at most 4 bytes stands outside its envelope"
    case inlined = "a value of more than 4 bytes claims to stand in its envelope"
    case envelopeByteCount = "an envelope's count of bytes is not that of its contents"
    case envelopeHandleCount = "an envelope's count of handles is not that of its contents"
    /// A string's or a vector's.
    case countOverBound = "a count is over its bound"
    case invalidUTF8 = "a string is not UTF-8"
    /// One that is mentioned did not travel with the message.
    case missingHandle = "a handle is missing"
    /// One that travelled with the message.
    case surplusHandle = "a handle is not mentioned"
  }

  init(_ fault: Fault, at offset: Int, in field: String = "") {
    self.field = field
    self.offset = offset
    self.fault = fault
  }

  /// The same, with one more name before the path. Only errors pay for their paths.
  func within(_ name: String) -> WireError {
    let separator = field.isEmpty || field.hasPrefix("[") ? "" : "."
    return WireError(fault, at: offset, in: name + separator + field)
  }
}

extension WireError: CustomStringConvertible {
  public var description: String { "\(field), at byte \(offset): \(fault.rawValue)" }
}
