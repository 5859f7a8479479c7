extension String {
  /// With what cannot be seen, or changes what is seen around it, written as `\u{…}`.
  ///
  /// A heap's, a region's or a buffer's name holds what somebody chose: a line break would make a line
  /// of its own in a report, and a mark of direction would turn the line around (Unicode TR 36).
  package var visible: String {
    var text = ""
    for scalar in unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned,
        .surrogate:
        text += scalar.escaped
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text
  }

  /// Visible, and without `#`, which begins a directive in KTAP.
  var visibleWithoutHash: String {
    // By scalar: a `#` with an accent is another character to Swift, and still a `#` to a parser.
    visible.unicodeScalars.map { $0 == "#" ? $0.escaped : String($0) }.joined()
  }
}

extension Unicode.Scalar {
  fileprivate var escaped: String { "\\u{" + String(value, radix: 16, uppercase: true) + "}" }
}
