import Foundation
import HeapReport
import Testing

/// Whole outputs, as files beside this one.
///
/// `LINUXHEAPS_RECORD=1 swift test --filter GoldenTests` writes them anew; the difference is then read
/// in version control.
@Suite struct GoldenTests {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Golden")

  static let formats: [(String, @Sendable (Report) throws -> String)] = [
    ("report.txt", { $0.text }), ("report.ktap", { $0.ktap }), ("report.xml", { $0.junit }),
    ("report.json", { try $0.json }), ("report.html", { try $0.html }),
  ]

  @Test(arguments: formats.map(\.0))
  func `a format is what it was`(_ name: String) throws {
    let format = try #require(Self.formats.first { $0.0 == name })
    let text = try format.1(.sample)
    let file = Self.folder.appendingPathComponent(name)
    if ProcessInfo.processInfo.environment["LINUXHEAPS_RECORD"] != nil {
      try Data(text.utf8).write(to: file)
    }
    let golden = String(decoding: try Data(contentsOf: file), as: UTF8.self)
    #expect(Self.firstDifference(text, golden) == nil)
    // By bytes: to Swift two strings are equal also where an accent is composed and where it is not.
    let areSame = text.utf8.elementsEqual(golden.utf8)
    #expect(areSame)
  }

  private static func firstDifference(_ text: String, _ golden: String) -> String? {
    zip(text.split(separator: "\n"), golden.split(separator: "\n")).first { $0 != $1 }
      .map { "\($0) in place of \($1)" }
  }

  @Test(arguments: ["report.json", "report.html"])
  func `what is written can be read again`(_ name: String) throws {
    let file = Self.folder.appendingPathComponent(name)
    #expect(
      try Report(reading: String(decoding: try Data(contentsOf: file), as: UTF8.self)) == .sample)
  }

  @Test func `an empty run has a report in every format`() throws {
    let empty = Report(kernelRelease: "", date: "", seed: 0, machine: Report.Machine())
    #expect(empty.text == "0 passed, 0 failed, 0 skipped, seed 0\n")
    #expect(empty.ktap.hasPrefix("KTAP version 1\n1..0\n"))
    #expect(empty.junit.hasSuffix("<testsuites>\n</testsuites>\n"))
    #expect(try empty.html.contains("<h1>No check could run</h1>"))
    #expect(try Report(reading: try empty.html) == empty)
  }
}
