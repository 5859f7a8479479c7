/// What a person pressed.
enum Key: Equatable {
  case character(Character)
  case up, down, left, right, pageUp, pageDown, home, end, escape
}

/// Keys from the bytes that a terminal sends for them (ECMA-48, and what xterm and the kernel's own
/// terminal make of it).
struct KeyParser {
  /// The beginning of a sequence whose end has not come.
  private var begun: [UInt8] = []

  /// Whether the next bytes decide what the last ones were: Esc, or the beginning of another key.
  var isUndecided: Bool { !begun.isEmpty }

  mutating func keys(_ bytes: [UInt8]) -> [Key] { bytes.compactMap { key($0) } }

  /// No byte followed: what had begun was Esc itself, or nothing.
  mutating func decide() -> Key? {
    defer { begun = [] }
    return begun == [escape] ? .escape : nil
  }

  private mutating func key(_ byte: UInt8) -> Key? {
    switch begun.count {
    case 0:
      if byte == escape {
        begun = [byte]
        return nil
      }
      return byte < 0x7f ? .character(Character(Unicode.Scalar(byte))) : nil
    case 1:
      if byte == escape { return .escape }
      // Else Alt and a key, which means nothing here.
      begun = byte == UInt8(ascii: "[") || byte == UInt8(ascii: "O") ? begun + [byte] : []
      return nil
    default:
      begun.append(byte)
      // `ESC [ [ A` is F1 of the kernel's own terminal. Else parameters come before the last byte.
      let isWhole = begun.count > 3 && begun[2] == UInt8(ascii: "[") || 0x40...0x7e ~= byte
      guard isWhole && begun != [escape, UInt8(ascii: "["), UInt8(ascii: "[")] else { return nil }
      defer { begun = [] }
      return Self.key(begun.dropFirst(2))
    }
  }

  private static func key(_ sequence: ArraySlice<UInt8>) -> Key? {
    switch String(decoding: sequence, as: UTF8.self) {
    case "A": .up
    case "B": .down
    case "C": .right
    case "D": .left
    case "H", "1~", "7~": .home
    case "F", "4~", "8~": .end
    case "5~": .pageUp
    case "6~": .pageDown
    default: nil
    }
  }
}

private let escape: UInt8 = 0x1b
