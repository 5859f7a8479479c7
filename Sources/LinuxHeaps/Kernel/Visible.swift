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

  /// As one word of a shell's command: a name that somebody chose is no command of its own.
  package var shellWord: String {
    let isPlain = utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "+")...UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "_"),
        UInt8(ascii: "="):
        true
      default: false
      }
    }
    let parts = split(separator: "'", omittingEmptySubsequences: false)
    return isPlain ? self : "'\(parts.joined(separator: "'\\''"))'"
  }
}
