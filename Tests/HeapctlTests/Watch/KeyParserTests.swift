import Testing

@testable import heapctl

@Suite struct KeyParserTests {
  @Test(
    arguments: [
      ("j", [.character("j")]), ("qq", [.character("q"), .character("q")]),
      ("\u{1b}[A", [.up]), ("\u{1b}OB", [.down]), ("\u{1b}[C\u{1b}[D", [.right, .left]),
      ("\u{1b}[5~", [.pageUp]), ("\u{1b}[6~x", [.pageDown, .character("x")]),
      ("\u{1b}[H\u{1b}[1~\u{1b}[7~", [.home, .home, .home]),
      ("\u{1b}[F\u{1b}[4~\u{1b}[8~", [.end, .end, .end]),
      ("\u{1b}\u{1b}[A", [.escape, .up]),
      // Ctrl and an arrow, Alt and q, F1 of the kernel's terminal, an answer nobody asked for, ä, DEL.
      ("\u{1b}[1;5A.", [.character(".")]), ("\u{1b}q.", [.character(".")]),
      ("\u{1b}[[A.", [.character(".")]), ("\u{1b}[?62;c.", [.character(".")]),
      ("ä.", [.character(".")]), ("\u{7f}.", [.character(".")]),
    ] as [(String, [Key])])
  func `bytes become keys, however they come`(_ text: String, _ keys: [Key]) {
    var whole = KeyParser()
    #expect(whole.keys(Array(text.utf8)) == keys)
    #expect(!whole.isUndecided)
    var single = KeyParser()
    #expect(text.utf8.flatMap { single.keys([$0]) } == keys)
  }

  @Test func `Esc is a key when nothing follows it`() {
    var parser = KeyParser()
    #expect(parser.keys([0x1b]) == [])
    #expect(parser.isUndecided)
    #expect(parser.decide() == .escape)
    #expect(!parser.isUndecided)
    // Half a sequence is none.
    #expect(parser.keys(Array("\u{1b}[5".utf8)) == [])
    #expect(parser.decide() == nil)
    #expect(parser.keys([UInt8(ascii: "~")]) == [.character("~")])
  }
}
