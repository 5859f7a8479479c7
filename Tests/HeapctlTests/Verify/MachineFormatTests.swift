import Foundation
import HeapReport
import LinuxHeaps
import Testing

/// What harnesses read out of KTAP and JUnit is what the report says.
@Suite struct MachineFormatTests {
  @Test func `KTAP nests a heap's checks, and odd names end no line`() throws {
    let tests = try KTAP(Report.sample.ktap).tests
    #expect(tests.map(\.outcome) == ["fail", "fail", "pass", "skip"])
    #expect(
      tests.map(\.name) == [
        "system", #"<odd> & "näme" \u{23}\#u{301} it's\u{A}ok 1 \u{202E}gnp ]]>"#, "memfd",
        "protected,secure-video",
      ])
    #expect(
      tests.map { $0.tests.map { "\($0.outcome) \($0.name)" } } == [
        ["pass fence", "fail zeroed", "pass drm-import"],
        ["fail zeroed", "skip child-by-import", "pass drm-import"], ["pass fence"], ["skip all"],
      ])
  }

  @Test func `JUnit counts, orders and escapes as its schemas ask`() throws {
    try Self.agrees(try JUnit(Report.sample.junit), with: .sample)
  }

  /// The rules of Ant's schema (JUnit.xsd), and the report's own figures.
  static func agrees(_ junit: JUnit, with report: Report) throws {
    let root = try #require(junit.root)
    #expect(root.name == "testsuites" && root.attributes.isEmpty)
    for (id, suite) in root.children.enumerated() {
      #expect(suite.name == "testsuite")
      #expect(
        Set(suite.attributes.keys) == [
          "id", "package", "name", "timestamp", "hostname", "tests", "failures", "errors",
          "skipped", "time",
        ])
      #expect(suite.number("id") == id)
      let stamp = try #require(suite.attributes["timestamp"])
      #expect(try #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/#.wholeMatch(in: stamp) != nil)
      let cases = suite.all("testcase")
      #expect(
        suite.children.map(\.name)
          == ["properties"] + cases.map(\.name) + ["system-out", "system-err"])
      #expect(suite.number("tests") == cases.count)
      #expect(suite.number("failures") == cases.count { !$0.all("failure").isEmpty })
      #expect(suite.number("skipped") == cases.count { !$0.all("skipped").isEmpty })
      #expect(suite.number("errors") == 0)
      #expect(suite.attributes["time"].flatMap { Double($0) } != nil)
      for test in cases {
        #expect(Set(test.attributes.keys) == ["classname", "name", "time"])
        #expect(test.attributes["classname"] == suite.attributes["name"])
        #expect(test.attributes["time"].flatMap { Double($0) } != nil)
        #expect(test.children.count <= 1)
      }
    }
    let found = root.children.flatMap { $0.all("testcase") }.map { test in
      let ending = test.children.first
      let word = ending.map { $0.name == "failure" ? "fail" : "skip" } ?? "pass"
      return [
        test.attributes["classname"], test.attributes["name"], word, ending?.attributes["message"],
      ]
    }
    let heaps = root.children.map(\.attributes["name"])
    let wanted = heaps.flatMap { heap in
      report.results.filter { $0.heap.visible == heap }.map {
        [$0.heap.visible, $0.check.visible, $0.outcome.rawValue, $0.reason?.visible]
      }
    }
    #expect(found == wanted)
    #expect(found.count == report.results.count)
  }
}
