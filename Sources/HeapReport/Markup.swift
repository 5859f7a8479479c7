internal import LinuxHeaps

/// Text of HTML or XML. What a literal says is markup; a string put into it is escaped, so that
/// forgetting to escape does not compile.
struct Markup: ExpressibleByStringInterpolation {
  let text: String

  init(stringLiteral text: String) { self.text = text }
  init(stringInterpolation: Interpolation) { text = stringInterpolation.text }

  /// What is known to hold no markup, e.g. JSON without a `<`.
  init(trusted text: String) { self.text = text }

  struct Interpolation: StringInterpolationProtocol {
    fileprivate var text = ""
    init(literalCapacity: Int, interpolationCount: Int) { text.reserveCapacity(literalCapacity) }

    mutating func appendLiteral(_ literal: String) { text += literal }
    mutating func appendInterpolation(_ markup: Markup) { text += markup.text }
    mutating func appendInterpolation(_ markups: [Markup]) {
      for one in markups { text += one.text }
    }
    mutating func appendInterpolation(_ number: some FixedWidthInteger) { text += "\(number)" }
    mutating func appendInterpolation(_ words: String) { text += words.visible.escaped }
  }
}

extension String {
  /// Right between tags and inside quoted attributes, of HTML and of XML alike. XML 1.0 cannot hold
  /// control characters at all: ``visible`` took them out.
  fileprivate var escaped: String {
    var text = ""
    for character in unicodeScalars {
      switch character {
      case "&": text += "&amp;"
      case "<": text += "&lt;"
      case ">": text += "&gt;"
      case "\"": text += "&quot;"
      case "'": text += "&#39;"
      default: text.unicodeScalars.append(character)
      }
    }
    return text
  }
}
