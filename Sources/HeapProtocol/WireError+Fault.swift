extension WireError {
  /// Each way in which a message can be malformed.
  public enum Fault: Hashable, Sendable, CaseIterable {
    /// The message ends inside an object, or before it.
    case truncated
    /// Bytes follow the last object.
    case trailingBytes
    /// More than ``WireLimits/maxBytes``.
    case tooManyBytes
    /// More than ``WireLimits/maxHandles``.
    case tooManyHandles
    /// More than ``WireLimits/maxDepth``.
    case tooDeep
    /// The magic number is not 1.
    case wrongMagic
    /// The format is not version 2.
    case wrongAtRestFlags
    /// The message is another one than it was decoded as.
    case wrongOrdinal
    /// A byte that only fills up is not 0.
    case nonzeroPadding
    /// A bool other than 0 and 1.
    case invalidBool
    /// A presence other than 0 and all ones.
    case invalidPresence
    /// A null where a value is obligatory.
    case unexpectedNull
    /// A table without a field that the message is nothing without.
    case absent
    /// A union of a member that it does not have.
    case unknownMember
    /// An envelope's flags are neither 0 nor 1.
    case invalidEnvelopeFlags
    /// A value of at most 4 bytes outside its envelope.
    case notInlined
    /// A value of more than 4 bytes that claims to be in its envelope.
    case inlined
    /// An envelope's count of bytes is not that of its contents.
    case envelopeByteCount
    /// An envelope's count of handles is not that of its contents.
    case envelopeHandleCount
    /// A string or vector longer than its bound.
    case countOverBound
    /// A string that is not UTF-8.
    case invalidUTF8
    /// A handle that is mentioned did not travel with the message.
    case missingHandle
    /// A handle that travelled with the message is not mentioned.
    case surplusHandle
  }
}

extension WireError.Fault: CustomStringConvertible {
  /// The fault in plain words.
  public var description: String {
    switch self {
    case .truncated: "the message ends too early"
    case .trailingBytes: "bytes follow the last object"
    case .tooManyBytes: "more than \(WireLimits.maxBytes) bytes"
    case .tooManyHandles: "more than \(WireLimits.maxHandles) handles"
    case .tooDeep: "more than \(WireLimits.maxDepth) objects inside one another"
    case .wrongMagic: "the magic number is not 1"
    case .wrongAtRestFlags: "the wire format is not version 2"
    case .wrongOrdinal: "the ordinal is that of another message"
    case .nonzeroPadding: "padding is not 0"
    case .invalidBool: "a bool is neither 0 nor 1"
    case .invalidPresence: "a presence is neither 0 nor all ones"
    case .unexpectedNull: "null where a value is obligatory"
    case .absent: "an obligatory field is absent"
    case .unknownMember: "the union has no such member"
    case .invalidEnvelopeFlags: "an envelope's flags are neither 0 nor 1"
    case .notInlined: "a value of at most 4 bytes stands outside its envelope"
    case .inlined: "a value of more than 4 bytes claims to stand in its envelope"
    case .envelopeByteCount: "an envelope's count of bytes is not that of its contents"
    case .envelopeHandleCount: "an envelope's count of handles is not that of its contents"
    case .countOverBound: "a count is over its bound"
    case .invalidUTF8: "a string is not UTF-8"
    case .missingHandle: "a handle is missing"
    case .surplusHandle: "a handle is not mentioned"
    }
  }
}
