/// As much of a terminal as `heapctl watch` uses: what stands on its two screens. Everything else that it is sent
/// is in `unknown`.
struct EmulatedScreen {
  private(set) var isAlternate = false
  private(set) var showsCursor = true
  /// Sequences and control characters that are not understood.
  private(set) var unknown: [String] = []
  /// Numbers of SGR sequences that came.
  private(set) var tints: Set<String> = []
  /// How often all was erased.
  private(set) var erasures = 0

  private(set) var rows: Int
  private(set) var columns: Int
  /// A cell is empty behind a wide character.
  private var cells: [[String]]
  private var mainCells: [[String]] = []
  private var row = 0
  private var column = 0
  private var savedCursor = (row: 0, column: 0)
  private var begun: [UInt8] = []

  init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    cells = Self.blank(rows, columns)
  }

  private static func blank(_ rows: Int, _ columns: Int) -> [[String]] {
    Array(repeating: Array(repeating: " ", count: columns), count: rows)
  }

  /// The lines without the blanks at their ends.
  var lines: [String] {
    cells.map { line in
      let text = line.joined()
      return String(text.reversed().drop { $0 == " " }.reversed())
    }
  }

  mutating func resize(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    cells = Self.blank(rows, columns)
    mainCells = Self.blank(rows, columns)
    (row, column) = (0, 0)
  }

  mutating func take(_ bytes: [UInt8]) {
    for byte in bytes {
      begun.append(byte)
      if begun[0] == 0x1b {
        // ECMA-48: `ESC [`, parameters, and a final byte.
        guard begun.count > 2 || begun.count == 2 && byte != UInt8(ascii: "["),
          begun.count == 2 || 0x40...0x7e ~= byte
        else { continue }
        obey(String(decoding: begun.dropFirst(), as: UTF8.self))
        begun = []
      } else if let text = String(validating: begun, as: UTF8.self) {
        put(text)
        begun = []
      }
    }
  }

  private mutating func obey(_ sequence: String) {
    let numbers = sequence.dropFirst().dropLast().split(separator: ";").compactMap { Int($0) }
    switch (sequence.last, sequence) {
    case (_, "[?1049h") where !isAlternate:
      mainCells = cells
      savedCursor = (row, column)
      cells = Self.blank(rows, columns)
      isAlternate = true
    case (_, "[?1049l"):
      if isAlternate { cells = mainCells }
      (row, column) = savedCursor
      isAlternate = false
    case (_, "[?1049h"): break
    case (_, "[?25l"): showsCursor = false
    case (_, "[?25h"): showsCursor = true
    case ("H", _):
      row = min(rows, numbers.first ?? 1) - 1
      column = min(columns, numbers.count > 1 ? numbers[1] : 1) - 1
    case (_, "[J"):
      erasures += 1
      for row in row..<rows { erase(row, from: row == self.row ? column : 0) }
    case (_, "[K"): erase(row, from: column)
    case ("m", _): tints.insert(String(sequence.dropFirst().dropLast()))
    default: unknown.append("ESC \(sequence)")
    }
  }

  private mutating func erase(_ row: Int, from column: Int) {
    for column in column..<columns { cells[row][column] = " " }
  }

  private mutating func put(_ text: String) {
    switch text {
    case "\r": column = 0
    case "\n" where row + 1 < rows: row += 1
    case "\n":
      cells.removeFirst()
      cells.append(Array(repeating: " ", count: columns))
    default:
      guard let scalar = text.unicodeScalars.first, scalar.value >= 0x20, scalar.value != 0x7f
      else {
        unknown.append("character \(text.unicodeScalars.map(\.value))")
        return
      }
      // Of the ideographs alone; no test uses other wide characters.
      let width = 0x4e00...0x9fff ~= scalar.value ? 2 : 1
      guard column + width <= columns else {
        unknown.append("\(text) beyond the last column")
        return
      }
      cells[row][column] = text
      if width == 2 { cells[row][column + 1] = "" }
      column += width
    }
  }
}
