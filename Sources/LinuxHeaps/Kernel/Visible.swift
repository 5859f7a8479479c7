extension String {
  /// With what cannot be seen, or changes what is seen around it, written as `\u{…}`.
  ///
  /// A heap's, a region's, a buffer's or a program's name holds what somebody chose: a terminal would obey
  /// a control character, a line break would make a line of its own in a report, and a mark of direction
  /// would turn the line around (Unicode TR 36).
  package var visible: String {
    var text = ""
    for scalar in unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned,
        .surrogate:
        text += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text
  }
}
