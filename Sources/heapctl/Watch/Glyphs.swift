internal import Glibc
internal import LinuxHeaps

/// The characters of the view beyond ASCII, and what stands for them where a terminal may lack them.
struct Glyphs {
  /// From the lowest bar to the highest.
  let levels: [Character]
  let descending: String
  let ascending: String
  /// Where a text was cut.
  let cut: String
  /// Whether other programs' names may be shown as they are.
  let isASCII: Bool

  static let unicode = Glyphs(
    levels: Bars.levels, descending: "▼", ascending: "▲", cut: "…", isASCII: false)
  static let ascii = Glyphs(
    levels: Array("_.-:=+*#"), descending: "v", ascending: "^", cut: "~", isASCII: true)

  /// By the locale's name, as setlocale(3) would choose it. The kernel's own terminal knows UTF-8, but its
  /// font lacks most of the bars.
  init(environment: (String) -> String? = { unsafe getenv($0).map { unsafe String(cString: $0) } })
  {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap(environment)
      .first { !$0.isEmpty }?.lowercased()
    let isUTF8 = locale.map { $0.contains("utf-8") || $0.contains("utf8") } ?? false
    self = isUTF8 && environment("TERM") != "linux" ? .unicode : .ascii
  }

  private init(
    levels: [Character], descending: String, ascending: String, cut: String, isASCII: Bool
  ) {
    self.levels = levels
    self.descending = descending
    self.ascending = ascending
    self.cut = cut
    self.isASCII = isASCII
  }

  /// What other programs wrote, as this terminal can show it.
  func shown(_ text: String) -> String {
    isASCII ? String(text.printable.map { $0.isASCII ? $0 : "?" }) : text.printable
  }
}
