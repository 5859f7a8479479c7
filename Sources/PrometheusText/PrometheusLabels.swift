enum PrometheusLabels {
  /// Dimensions as in the text, without braces: `a="1",b="2"`, sorted by name.
  ///
  /// Of two with one name the last counts, since Prometheus refuses a line that has a label twice.
  /// `le` is a histogram's own, and a dimension of that name is written `exported_le` there.
  static func text(_ dimensions: [(String, String)], of kind: MetricKind) -> String {
    guard !dimensions.isEmpty else { return "" }
    var values: [String: String] = [:]
    for (name, value) in dimensions {
      var name = PrometheusName.label(name)
      if name == "le", kind.typeName == "histogram" { name = "exported_le" }
      values[name] = value
    }
    return values.sorted { $0.key < $1.key }
      .map { "\($0.key)=\"\(PrometheusEscape.labelValue($0.value))\"" }
      .joined(separator: ",")
  }
}

/// By scalars: as a `Character`, a line feed after a carriage return is no line feed.
enum PrometheusEscape {
  static func labelValue(_ value: String) -> String { escape(value, quotes: true) }

  /// HELP text, where quotes stand for themselves.
  static func help(_ words: String) -> String { escape(words, quotes: false) }

  private static func escape(_ text: String, quotes: Bool) -> String {
    var escaped = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": escaped.append(contentsOf: #"\\"#.unicodeScalars)
      case "\n": escaped.append(contentsOf: #"\n"#.unicodeScalars)
      case "\"" where quotes: escaped.append(contentsOf: #"\""#.unicodeScalars)
      default: escaped.append(scalar)
      }
    }
    return String(escaped)
  }
}
