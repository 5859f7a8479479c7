internal import Glibc

/// What a piece of text says, shown as a colour where there are colours.
enum Tint: String {
  case good = "32"
  case doubtful = "33"
  case bad = "31"
  case heading = "1"
}

/// Where text goes.
enum StandardStream {
  case output, error

  /// Whether a person looks on: no colour and no progress elsewhere, unless asked for.
  var isTerminal: Bool {
    isatty(self == .output ? STDOUT_FILENO : STDERR_FILENO) == 1 && environment("TERM") != "dumb"
  }

  /// By --color, else by NO_COLOR (no-color.org: set and not empty), else by what the stream is.
  var hasColors: Bool {
    switch ColorChoice.current {
    case .always: true
    case .never: false
    case .auto: environment("NO_COLOR").isEmpty && isTerminal
    }
  }
}

extension String {
  /// In a colour where the stream has them, as it is elsewhere.
  func painted(_ tint: Tint, on stream: StandardStream = .output) -> String {
    stream.hasColors ? "\u{1b}[\(tint.rawValue)m\(self)\u{1b}[0m" : self
  }
}

private func environment(_ name: String) -> String {
  unsafe getenv(name).map { unsafe String(cString: $0) } ?? ""
}
