extension String {
  /// The columns that a terminal takes for it. Control characters must not be in it (``printable``).
  var displayWidth: Int {
    // Names are ASCII as a rule.
    if utf8.allSatisfy({ $0 < 0x80 }) { return utf8.count }
    return unicodeScalars.reduce(0) { $0 + $1.displayWidth }
  }

  /// As much of it as fits, with `mark` at the end where something is missing.
  func cut(to columns: Int, mark: String) -> String {
    if displayWidth <= columns { return self }
    var scalars = String.UnicodeScalarView()
    var width = mark.displayWidth
    guard width <= columns else { return "" }
    for scalar in unicodeScalars {
      width += scalar.displayWidth
      if width > columns { break }
      scalars.append(scalar)
    }
    return String(scalars) + mark
  }

  func padded(to columns: Int) -> String {
    self + String(repeating: " ", count: max(0, columns - displayWidth))
  }
}

extension Unicode.Scalar {
  /// As wcwidth(3) would tell it, which needs a locale that a board may not have.
  fileprivate var displayWidth: Int {
    if value < 0x300 { return 1 }
    switch properties.generalCategory {
    case .nonspacingMark, .enclosingMark, .format: return 0
    default: break
    }
    return properties.isEmojiPresentation || wideRanges.contains { $0.contains(value) } ? 2 : 1
  }
}

/// East_Asian_Width W and F of Unicode's EastAsianWidth.txt, whole blocks where all or nearly all of a block
/// is so; emoji have a property of their own.
private let wideRanges: [ClosedRange<UInt32>] = [
  0x1100...0x115f, 0x2e80...0x303e, 0x3041...0x33ff, 0x3400...0x4dbf, 0x4e00...0xa4cf,
  0xa960...0xa97f, 0xac00...0xd7a3, 0xf900...0xfaff, 0xfe10...0xfe19, 0xfe30...0xfe6f,
  0xff01...0xff60, 0xffe0...0xffe6, 0x16fe0...0x18dff, 0x1aff0...0x1b2ff, 0x1f200...0x1f265,
  0x20000...0x3fffd,
]
