/// A value that knows its form in a message.
protocol WireValue {
  /// What it takes in line, without what it refers to and without padding.
  static var byteCount: Int { get }

  /// What reading begins with.
  init()

  /// Reads or writes the value that stands at `offset`, where `byteCount` bytes are.
  /// An error's path starts inside the value.
  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError)
}

/// A table: each field is there or not, and has its number for ever.
protocol WireTable: WireValue {
  /// Goes through all fields, in the order of their ordinals.
  mutating func fields(_ coder: inout WireCoder) throws(WireError)
}

extension WireTable {
  static var byteCount: Int { 16 }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    try coder.table(&self, at: offset)
  }
}

/// A number, in the byte order of the format.
protocol WireNumber: WireValue, FixedWidthInteger, BitwiseCopyable {}

extension WireNumber {
  static var byteCount: Int { MemoryLayout<Self>.size }

  mutating func code(_ coder: inout WireCoder, at offset: Int) {
    coder.number(&self, at: offset)
  }
}

extension UInt8: WireNumber {}
extension UInt32: WireNumber {}
extension UInt64: WireNumber {}
extension Int32: WireNumber {}

extension Bool: WireValue {
  static var byteCount: Int { 1 }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    var byte: UInt8 = self ? 1 : 0
    coder.number(&byte, at: offset)
    guard byte <= 1 else { throw WireError(.invalidBool, at: offset) }
    self = byte == 1
  }
}

/// A number with names of its own.
extension WireValue where Self: RawRepresentable, RawValue: WireNumber {
  static var byteCount: Int { RawValue.byteCount }

  init() { self.init(rawValue: 0)! }

  mutating func code(_ coder: inout WireCoder, at offset: Int) {
    var number = rawValue
    coder.number(&number, at: offset)
    self = Self(rawValue: number)!
  }
}

/// A handle's place among those that travelled with its message, from 0.
///
/// Handles go beside the bytes, in the order in which the message mentions them. Encoding writes no
/// number, only that there is a handle: each message of these protocols mentions at most one, so
/// what goes with an encoded message is that one.
public struct HandleIndex: RawRepresentable, Hashable, Sendable {
  /// Counts from 0.
  public let rawValue: Int
  public init(rawValue: Int) { self.rawValue = rawValue }

  /// The only handle, where a message mentions one.
  public static let first = HandleIndex(rawValue: 0)
}

extension HandleIndex: WireValue {
  static var byteCount: Int { 4 }

  init() { self = .first }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    var presence = UInt32.max
    coder.number(&presence, at: offset)
    switch presence {
    case .max: try coder.handle(&self, at: offset)
    case 0: throw WireError(.unexpectedNull, at: offset)
    default: throw WireError(.invalidPresence, at: offset)
    }
  }
}
