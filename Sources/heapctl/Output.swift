internal import ArgumentParser
internal import CLibrary
internal import FoundationEssentials
internal import LinuxHeaps
internal import SystemPackage

// MARK: Lines

/// A line on standard output.
func show(_ line: String) { write(line + "\n", to: STDOUT_FILENO) }

/// A line on standard error.
func tell(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

/// What went wrong, on standard error.
func complain(_ words: String) {
  tell("\("heapctl:".painted(.bad, on: .error)) \(words.visible)")
}

/// At once, whatever the output is: lines of two processes shall come in their order.
private func write(_ text: String, to descriptor: CInt) {
  var bytes = ArraySlice(text.utf8)
  while !bytes.isEmpty {
    let count = unsafe bytes.withUnsafeBytes {
      unsafe CLibrary.write(descriptor, $0.baseAddress!, $0.count)
    }
    switch count < 0 ? errno : 0 {
    case 0: bytes = bytes.dropFirst(count)
    case EINTR: continue
    // Who made the pipe wants no writer of it to wait, and all of its text.
    case EAGAIN:
      var room = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      unsafe poll(&room, 1, -1)
    case let number: return StandardStream.lose(Errno(rawValue: number), descriptor)
    }
  }
}

extension StandardStream {
  private static let hasLost = Guarded(false)

  /// Whether something could not be written: then no verb has done what it was asked for.
  static var isIncomplete: Bool { hasLost.withLock { $0 } }

  fileprivate static func lose(_ error: Errno, _ descriptor: CInt) {
    let isFirst = hasLost.withLock { hasLost in
      defer { hasLost = true }
      return !hasLost
    }
    // A reader that has read enough, as head(1), wants no words.
    guard isFirst, error != .brokenPipe else { return }
    complain(StandardDescriptors.loss(descriptor, error))
  }
}

/// One line on a terminal that says what is under way, and is gone when it is done.
struct Progress {
  private let isShown: Bool

  /// - Parameter besideLines: Whether lines go to standard output meanwhile: on a terminal they tell
  ///   enough.
  init(besideLines: Bool) {
    isShown =
      StandardStream.error.isTerminal && !(besideLines && StandardStream.output.isTerminal)
  }

  func show(_ words: String) { put(words + "\r") }

  func clear() { put("") }

  private func put(_ words: String) {
    if isShown { write("\r\u{1B}[2K" + words, to: STDERR_FILENO) }
  }
}

// MARK: Colours

/// Whether a command's text is coloured: every verb has it.
struct ColorChoice: ParsableArguments {
  enum When: String, ExpressibleByArgument, CaseIterable {
    case auto, always, never
  }

  @Option(
    help: ArgumentHelp(
      "Colour: auto (on a terminal, unless NO_COLOR is set), always or never.", valueName: "when"))
  var color = When.auto

  /// What was asked for, from the parser's validation on.
  private static let asked = Guarded(When.auto)

  static var current: When { asked.withLock { $0 } }

  func validate() { Self.asked.withLock { $0 = color } }
}

/// Every verb that can print JSON has it.
struct OutputChoice: ParsableArguments {
  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var color: ColorChoice
}

/// What a piece of text says, shown as a colour where there are colours.
enum Tint: String {
  case good = "32"
  case doubtful = "33"
  case bad = "31"
}

/// Where text goes.
enum StandardStream {
  case output, error

  /// Whether a person looks on: no colour and no progress elsewhere, unless asked for.
  var isTerminal: Bool {
    isatty(self == .output ? STDOUT_FILENO : STDERR_FILENO) == 1 && environment("TERM") != "dumb"
  }

  /// By --color, else by NO_COLOR (no-color.org: set and not empty), else by what the stream is.
  fileprivate var hasColors: Bool {
    switch ColorChoice.current {
    case .always: true
    case .never: false
    case .auto: environment("NO_COLOR").isEmpty && isTerminal
    }
  }

  private func environment(_ name: String) -> String {
    unsafe getenv(name).map { unsafe String(cString: $0) } ?? ""
  }
}

extension String {
  /// In a colour where the stream has them, as it is elsewhere.
  func painted(_ tint: Tint, on stream: StandardStream = .output) -> String {
    stream.hasColors ? "\u{1b}[\(tint.rawValue)m\(self)\u{1b}[0m" : self
  }

  func padded(to columns: Int) -> String {
    self + String(repeating: " ", count: max(0, columns - count))
  }
}

// MARK: Figures

extension Int {
  /// `1 mapping`, `2 mappings`.
  func counted(_ one: String, _ many: String) -> String { "\(self) \(self == 1 ? one : many)" }
}

/// Columns as wide as their widest cell, as lines; the first are the heads.
func table(_ heads: [String], _ rows: [[String]]) -> [String] {
  let table = [heads] + rows
  let widths = heads.indices.map { column in table.map { $0[column].count }.max() ?? 0 }
  return table.map { row in
    let line = zip(row, widths).map { $0.padded(to: $1) }.joined(separator: "  ")
    return String(line.reversed().drop { $0 == " " }.reversed())
  }
}

/// A bar for each figure: the lowest for 0, the highest for `most`.
func bars(
  _ figures: some Sequence<UInt64>, of most: UInt64, levels: [Character] = Array("▁▂▃▄▅▆▇█")
) -> String {
  let top = levels.count - 1
  return String(
    figures.map { figure in
      let level = Double(figure) / Double(max(most, 1)) * Double(top)
      return levels[min(top, Int(level.rounded(.up)))]
    })
}

// MARK: JSON

/// Shows a verb's result as JSON, below what every JSON output of heapctl begins with.
///
/// - Parameter name: Of the field that has the result.
func showJSON(_ body: some Encodable, named name: String) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  show(String(decoding: try encoder.encode(JSONReport(body: body, name: name)), as: UTF8.self))
}

private struct JSONReport<Body: Encodable>: Encodable {
  /// Rises when a field changes its meaning or goes away.
  let schemaVersion = 1
  let body: Body
  let name: String

  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(schemaVersion, forKey: Key("schemaVersion"))
    try container.encode(kernelRelease, forKey: Key("kernelRelease"))
    try container.encode(body, forKey: Key(name))
  }
}
