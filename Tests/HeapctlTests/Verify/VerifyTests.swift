import Glibc
import HeapReport
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

@Suite struct VerifyTests {
  @Test func `every check of a heap has a line, in an order that follows from the seed`() throws {
    let run = try Run.heapctl("verify", "--heap", "opaque", "--seed", "12")
    let checks = HeapCheck.all(for: .opaque, orderedBy: 12)
    #expect(
      run.output == checks.map { "pass  opaque  \($0.name): \($0.claim)\n" }.joined()
        + "\(checks.count) passed, 0 failed, 0 skipped, seed 12\n")
    #expect(run.error == "")
    #expect(run.status == 0)
    #expect(checks.map(\.name) != HeapCheck.all(for: .opaque).map(\.name))
    #expect(checks.map(\.name).sorted() == HeapCheck.all(for: .opaque).map(\.name).sorted())
  }

  @Test func `a seed repeats the run, and another does not`() throws {
    let first = try Run.heapctl("verify", "--heap", "opaque", "--seed", "1")
    let again = try Run.heapctl("verify", "--heap", "opaque", "--seed", "1")
    let other = try Run.heapctl("verify", "--heap", "opaque", "--seed", "2")
    #expect(first == again)
    #expect(first.status == 0)
    #expect(first.output.split(separator: "\n") != other.output.split(separator: "\n"))
    #expect(
      first.output.split(separator: "\n").dropLast().sorted()
        == other.output.split(separator: "\n").dropLast().sorted())
  }

  @Test func `a heap's order is its own, whatever else is checked`() throws {
    let alone = try Run.heapctl("verify", "--heap", "opaque", "--seed", "3")
    let both = try Run.heapctl("verify", "--heap", "memfd", "--heap", "opaque", "--seed", "3")
    #expect(
      both.output.split(separator: "\n").filter { $0.hasPrefix("pass  opaque") }
        == alone.output.split(separator: "\n").dropLast())
  }

  @Test func `the checks are listed with what must hold`() throws {
    let run = try Run.heapctl("verify", "--list")
    let lines = run.output.split(separator: "\n")
    #expect(lines.count == HeapCheck.all.count + 1)
    for (line, check) in zip(lines.dropFirst(), HeapCheck.all) {
      #expect(line.hasPrefix(check.name + " ") && line.hasSuffix("  " + check.claim))
    }
    #expect(run.status == 0 && run.error == "")
    let rows = try #require(
      try Run.heapctl("verify", "--list", "--json").json["checks"] as? [[String: String]])
    #expect(rows == HeapCheck.all.map { ["name": $0.name, "claim": $0.claim] })
    #expect(Set(rows.map { $0["name"] }).count == rows.count)
  }

  @Test func `checks run alone, as they do among all`() throws {
    let run = try Run.heapctl(
      "verify", "--heap", "opaque", "--heap", "memfd", "--check", "no-access", "size", "--check",
      "key-taken", "--seed", "1")
    #expect(run.status == 0)
    let all = try Run.heapctl("verify", "--heap", "opaque", "--heap", "memfd", "--seed", "1")
    let chosen = ["no-access", "size", "key-taken"].map { "  \($0): " }
    let wanted = all.output.split(separator: "\n").filter { line in
      chosen.contains { line.contains($0) }
    }
    #expect(wanted.count == 5)
    #expect(run.output.split(separator: "\n").dropLast() == wanted[...])
    #expect(run.output.hasSuffix("\n5 passed, 0 failed, 0 skipped, seed 1\n"))
  }

  /// Nothing was checked, which must not look like success.
  @Test func `a check that says nothing of the heap is no success`() throws {
    let run = try Run.heapctl("verify", "--heap", "memfd", "--check", "drm-import")
    #expect(run.status == 69)
    #expect(run.output == "")
    #expect(run.error.contains("run drm-import: it says nothing of memfd"))
  }

  @Test func `a page names the program that made it, and the noise of its machine`() throws {
    let page = try Run.heapctl(
      "verify", "--heap", "opaque", "--check", "size", "--format", "html"
    ).output
    let version = try Run.heapctl("--version").output.split(separator: "\n")
      .joined(separator: ", ")
    #expect(page.contains("<dt>Report by</dt><dd>\(version)</dd>"))
    var report = try Report(reading: page)
    report.machine.noise = "the load is 9 on 2 processors"
    #expect(try report.html.contains("<dt>Noise</dt><dd>the load is 9 on 2 processors</dd>"))
  }

  @Test func `JSON stands alone on standard output`() throws {
    let run = try Run.heapctl("verify", "--heap", "opaque", "--json")
    let rows = try #require(try run.json["results"] as? [[String: Any]])
    #expect(rows.count == HeapCheck.all(for: .opaque).count)
    #expect(rows.allSatisfy { $0["outcome"] as? String == "pass" })
    #expect(run.error == "")
    #expect(run.status == 0)
  }

  @Test func `a heap that is not there is named`() throws {
    let run = try Run.heapctl("verify", "--heap", "nonesuch")
    #expect(run.status == 69)
    #expect(run.error.hasPrefix("heapctl: verify heap 'nonesuch': there is no such heap; "))
    #expect(run.error.contains("To fix it: use memfd, udmabuf, opaque, or a node of "))
  }

  @Test(
    .enabled(
      if: geteuid() == 0 && !HeapCatalog().heaps().isEmpty, "needs root and /dev/dma_heap"),
    arguments: HeapCatalog().heaps().map(\.name))
  func `a heap that its user may not open says who may`(_ heap: String) throws {
    let run = try Run.heapctl(
      "verify", "--heap", heap, through: EveryFormatTests.ordinaryUser)
    let node = try #require(HeapCatalog().heaps().first { $0.name == heap }?.node)
    #expect(run.status == 77 && run.output == "")
    #expect(run.error.contains("(/dev/dma_heap/\(heap)): the node is \(node)"))
    #expect(run.error.contains("To fix it: "))
  }

  @Test(arguments: [
    ["--json", "--format", "text"], ["--format", "pdf"], ["-o", ""], ["--from", ""],
    ["--seed", "-1"],
    ["--seed", "4294967296"],
    ["--from", "x", "--seed", "1"], ["--from", "x", "--heap", "memfd"],
    ["--from", "x", "--socket", "y"], ["--from", "x", "--list"],
    ["--from", "x", "--check", "size"],
    ["--check", "nosuch"], ["--check"], ["--list", "--heap", "memfd"],
    ["--list", "--check", "size"],
    ["--list", "--format", "html"], ["--list", "-o", "x"],
  ])
  func `options that exclude each other are wrong usage`(_ words: [String]) throws {
    let run = try Run.heapctl(["verify"] + words)
    #expect(run.status == 64)
    #expect(run.output == "")
  }
}
