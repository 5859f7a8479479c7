/// Names that Prometheus takes: ASCII letters, digits and `_`, not a digit first.
enum PrometheusName {
  /// A colon is allowed here as well.
  static func metric(_ name: String) -> String { valid(name, allowing: ":") }

  static func label(_ name: String) -> String { valid(name, allowing: "_") }

  private static func valid(_ name: String, allowing extra: Unicode.Scalar) -> String {
    var valid = String.UnicodeScalarView()
    for scalar in name.unicodeScalars {
      switch scalar {
      case "a"..."z", "A"..."Z", "_", extra: valid.append(scalar)
      case "0"..."9":
        if valid.isEmpty { valid.append("_") }
        valid.append(scalar)
      default: valid.append("_")
      }
    }
    return valid.isEmpty ? "_" : String(valid)
  }
}
