import Testing

@testable import heapctl

@Suite struct ScreenTests {
  private let size = ScreenSize(rows: 3, columns: 5)

  private func lines(_ texts: String...) -> [StyledLine] { texts.map { StyledLine($0, .good) } }

  @Test func `only lines that changed are written`() {
    var screen = Screen()
    let first = screen.update(lines("abc", "", "fghij"), size, hasColors: false)
    #expect(
      first == "\u{1b}[H\u{1b}[J\u{1b}[1;1Habc\u{1b}[K\u{1b}[2;1H\u{1b}[K\u{1b}[3;1Hfghij")
    #expect(screen.update(lines("abc", "", "fghij"), size, hasColors: false) == "")
    #expect(
      screen.update(lines("abc", "d", "fghij"), size, hasColors: false) == "\u{1b}[2;1Hd\u{1b}[K")
    #expect(
      screen.update(lines("abc", "d", "f"), size, hasColors: true)
        == "\u{1b}[1;1H\u{1b}[32mabc\u{1b}[0m\u{1b}[K\u{1b}[2;1H\u{1b}[32md\u{1b}[0m\u{1b}[K"
        + "\u{1b}[3;1H\u{1b}[32mf\u{1b}[0m\u{1b}[K")
  }

  @Test func `all is written after another size, and where others wrote meanwhile`() {
    var screen = Screen()
    _ = screen.update(lines("a", "b", "c"), size, hasColors: false)
    let narrow = screen.update(
      lines("a", "b"), ScreenSize(rows: 2, columns: 1), hasColors: false)
    #expect(narrow == "\u{1b}[H\u{1b}[J\u{1b}[1;1Ha\u{1b}[2;1Hb")
    screen.forget()
    #expect(
      screen.update(lines("a", "b"), ScreenSize(rows: 2, columns: 1), hasColors: false) == narrow)
  }

  @Test func `nothing is written beyond the last column`() {
    var screen = Screen()
    let text = screen.update(
      lines("abcdefg"), ScreenSize(rows: 1, columns: 5), hasColors: false)
    #expect(text == "\u{1b}[H\u{1b}[J\u{1b}[1;1Habcde")
  }

  @Test func `a line that tells no size has 24 by 80`() {
    #expect(ScreenSize(rows: 0, columns: 0) == ScreenSize(rows: 24, columns: 80))
  }
}
