/// One line of the screen: pieces of text, each with its tint.
struct StyledLine: Equatable {
  struct Piece: Equatable {
    let text: String
    let tint: Tint?
  }

  private(set) var pieces: [Piece]

  init(_ text: String = "", _ tint: Tint? = nil) {
    pieces = text.isEmpty ? [] : [Piece(text: text, tint: tint)]
  }

  static func + (left: StyledLine, right: StyledLine) -> StyledLine {
    var line = left
    line.pieces += right.pieces
    return line
  }

  var text: String { pieces.map(\.text).joined() }

  var width: Int { pieces.reduce(0) { $0 + $1.text.displayWidth } }

  func cut(to columns: Int, mark: String) -> StyledLine {
    var line = StyledLine()
    var rest = columns
    for piece in pieces where rest > 0 {
      line.pieces.append(Piece(text: piece.text.cut(to: rest, mark: mark), tint: piece.tint))
      rest -= piece.text.displayWidth
    }
    return line
  }

  /// As a terminal takes it.
  func painted(_ hasColors: Bool) -> String {
    pieces.map { piece in
      guard hasColors, let tint = piece.tint else { return piece.text }
      return "\u{1b}[\(tint.rawValue)m\(piece.text)\u{1b}[0m"
    }.joined()
  }

  /// Parts one after the other, on as many lines as they need.
  static func wrapped(
    _ parts: [StyledLine], to columns: Int, separator: String = "   "
  ) -> [StyledLine] {
    var lines: [StyledLine] = []
    for part in parts {
      if let last = lines.last, last.width + separator.count + part.width <= columns {
        lines[lines.count - 1] = last + StyledLine(separator) + part
      } else {
        lines.append(part)
      }
    }
    return lines
  }

  static func wrapped(words: String, _ tint: Tint, to columns: Int) -> [StyledLine] {
    let words = words.split(separator: " ").map { StyledLine(String($0)) }
    return wrapped(words, to: columns, separator: " ").map { StyledLine($0.text, tint) }
  }
}
