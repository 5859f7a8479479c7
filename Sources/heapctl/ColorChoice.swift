internal import ArgumentParser
internal import LinuxHeaps

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
