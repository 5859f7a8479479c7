extension String {
  /// Names come from other processes and from devices, which can put anything into them, also what a
  /// terminal obeys.
  package var printable: String {
    String(
      String.UnicodeScalarView(
        unicodeScalars.map {
          switch $0.properties.generalCategory {
          case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: "?"
          default: $0
          }
        }))
  }
}
