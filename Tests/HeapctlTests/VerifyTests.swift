import HeapTestKit
import LinuxHeaps
import Testing

@Suite struct VerifyTests {
  @Test func `every check of a heap has a line, and the last line sums up`() throws {
    let run = try Run.heapctl("verify", "--heap", "opaque")
    let lines = run.output.split(separator: "\n").map(String.init)
    let checks = HeapCheck.all(for: HeapUnderTest.opaque)
    #expect(lines.dropLast() == checks.map { "pass  opaque  \($0.name): \($0.claim)" }[...])
    #expect(lines.last == "\(checks.count) passed, 0 failed, 0 skipped")
    #expect(run.status == 0)
  }

  @Test func `JSON stands alone on standard output`() throws {
    let run = try Run.heapctl("verify", "--heap", "opaque", "--json")
    let rows = try #require(try run.json["results"] as? [[String: Any]])
    #expect(rows.count == HeapCheck.all(for: HeapUnderTest.opaque).count)
    #expect(rows.allSatisfy { $0["outcome"] as? String == "pass" })
    #expect(run.status == 0)
  }

  @Test func `a heap that is not there is named`() throws {
    let run = try Run.heapctl("verify", "--heap", "nonesuch")
    #expect(run.status == 69)
    #expect(run.error.hasPrefix("heapctl: verify nonesuch: no such heap. To fix it: use one of:"))
  }
}
