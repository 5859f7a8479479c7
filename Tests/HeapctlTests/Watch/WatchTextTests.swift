import Testing

@testable import heapctl

/// What the view's lines are made of.
@Suite struct WatchTextTests {
  @Test(
    arguments: [
      ("", 0), ("heapctl", 7), ("Zürich", 6), ("e\u{301}", 1), ("名前", 4), ("한", 2), ("ｶ", 1),
      ("😀", 2), ("▁█", 2), ("…", 1),
    ])
  func `a terminal's columns are counted`(_ text: String, _ width: Int) {
    #expect(text.displayWidth == width)
    #expect(text.padded(to: 12).displayWidth == 12)
  }

  @Test(
    arguments: [
      ("heapctl", 7, "heapctl"), ("heapctl", 6, "heapc…"), ("heapctl", 1, "…"), ("heapctl", 0, ""),
      ("名前です", 8, "名前です"), ("名前です", 7, "名前で…"), ("名前です", 6, "名前…"),
      ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
    ])
  func `a text is cut by columns`(_ text: String, _ columns: Int, _ cut: String) {
    #expect(text.cut(to: columns, mark: "…") == cut)
  }

  @Test func `a line is cut in the piece that does not fit, and keeps its tints`() {
    let line = StyledLine("abc", .good) + StyledLine("def", .bad) + StyledLine("ghi")
    #expect(line.cut(to: 9, mark: "…") == line)
    #expect(line.cut(to: 5, mark: "…").text == "abcd…")
    #expect(line.cut(to: 3, mark: "…").text == "abc")
    #expect(
      line.cut(to: 5, mark: "").painted(true) == "\u{1b}[32mabc\u{1b}[0m\u{1b}[31mde\u{1b}[0m")
    #expect(line.painted(false) == "abcdefghi")
  }

  @Test func `parts go on below where a line is full`() {
    let parts = ["one", "two", "three"].map { StyledLine($0) }
    #expect(
      StyledLine.wrapped(parts, to: 20).map(\.text) == ["one   two   three"].map { String($0) })
    #expect(StyledLine.wrapped(parts, to: 16).map(\.text) == ["one   two", "three"])
    #expect(StyledLine.wrapped(parts, to: 1).map(\.text) == ["one", "two", "three"])
    #expect(StyledLine.wrapped([], to: 9).isEmpty)
  }

  @Test func `bars reach from none to the most`() {
    #expect(Bars.text([0, 1, 50, 99, 100] as [UInt64], of: 100) == "▁▂▅██")
    #expect(Bars.text([0, 0] as [UInt64], of: 0) == "▁▁")
    #expect(Bars.text([.max, 0] as [UInt64], of: .max, levels: Glyphs.ascii.levels) == "#_")
  }

  @Test(
    arguments: [
      (["LANG": "en_US.UTF-8"], false), (["LANG": "C.utf8"], false),
      (["LANG": "de_DE.UTF-8@euro"], false), (["LC_ALL": "", "LANG": "C.UTF-8"], false),
      (["LC_ALL": "C", "LANG": "C.UTF-8"], true), (["LC_CTYPE": "POSIX", "LANG": "C.UTF-8"], true),
      ([:], true), (["LANG": "C.UTF-8", "TERM": "linux"], true),
    ] as [([String: String], Bool)])
  func `ASCII alone where the locale or the font has no more`(
    _ environment: [String: String], _ isASCII: Bool
  ) {
    let glyphs = Glyphs { environment[$0] }
    #expect(glyphs.isASCII == isASCII)
    #expect(glyphs.shown("a\u{1b}[2Jü") == (isASCII ? "a?[2J?" : "a?[2Jü"))
  }

  @Test func `the history keeps the last samples of each heap`() {
    var history = HeapHistory()
    history.note(["a": 1])
    history.note(["a": 2, "b": 7])
    history.note(["b": 3])
    #expect(history.last(9, of: "a") == [1, 2, 0])
    #expect(history.last(2, of: "a") == [2, 0])
    #expect(history.last(-1, of: "a") == [])
    #expect(history.last(9, of: "b") == [7, 3])
    #expect(history.most(of: "b") == 7)
    #expect(history.most(of: "c") == 0)
    for _ in 0..<HeapHistory.mostSamples { history.note(["b": 3]) }
    #expect(history.last(.max, of: "b").count == HeapHistory.mostSamples)
    #expect(history.most(of: "b") == 3)
  }
}
