import Foundation
import LinuxHeaps
import TestSupport
import Testing

@Suite struct BenchTests {
  static let steps = ["allocate", "map", "fill", "sync", "reclaim"]

  @Test(arguments: TestHeaps.names)
  func `JSON has each step of each size, in order`(_ heap: String) throws {
    let run = try Run.heapctl(
      "bench", "--heap", heap, "--sizes", "4K,1M", "--rounds", "5", "--json")
    #expect(run.status == 0)
    let bench = try #require(try run.json["bench"] as? [String: Any])
    #expect(bench["rounds"] as? Int == 5)
    let rows = try #require(bench["rows"] as? [[String: Any]])
    // There is nothing to map in an opaque vmo.
    let steps = heap == "opaque" ? ["allocate", "reclaim"] : Self.steps
    #expect(rows.map { $0["step"] as? String } == steps + steps)
    #expect(
      rows.map { $0["sizeBytes"] as? Int }
        == steps.map { _ in 4096 } + steps.map { _ in 1 << 20 })
    for row in rows {
      #expect(row["heap"] as? String == heap)
      let times = try #require(row["nanoseconds"] as? [String: Any])
      let figures = ["p50", "p95", "p99", "max"].compactMap { times[$0] as? UInt64 }
      #expect(figures.count == 4)
      #expect(figures == figures.sorted())
      let buckets = try #require(times["histogram"] as? [[String: Any]])
      #expect(buckets.compactMap { $0["samples"] as? Int }.reduce(0, +) == 5)
    }
  }

  @Test func `text has a line for each step, and no progress where nobody looks on`() throws {
    let run = try Run.heapctl("bench", "--heap", "memfd", "--sizes", "4K", "--rounds", "3")
    #expect(run.status == 0)
    let lines = run.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    #expect(
      lines.first
        == ["HEAP", "SIZE", "STEP", "P50", "P95", "P99", "MAX", "FROM", "HISTOGRAM"])
    #expect(lines.dropFirst().map { $0[3] } == Self.steps)
    #expect(!run.error.contains("\u{1b}"))
  }

  @Test func `a terminal shows how far it is, and nothing of it after`() throws {
    let text = try Terminal.error("bench --heap memfd --sizes 4K --rounds 2")
    let clear = "\r\u{1B}[2K"
    #expect(text.hasPrefix("\(clear)memfd 4 KiB: 1 of 2\r"))
    // What the machine is doing meanwhile may be told after.
    #expect(text.components(separatedBy: clear).last?.contains(" of 2") == false)
    #expect(
      !(try Terminal.error("bench --heap memfd --sizes 4K --rounds 2", kind: "dumb"))
        .contains("\u{1B}"))
  }

  @Test(arguments: [
    ["--sizes", "4K,"], ["--sizes", "x"], ["--sizes", "0"], ["--sizes", "-4K"],
    ["--sizes", "17179869184G"], ["--rounds", "0"], ["--svg", ""],
  ])
  func `what cannot be measured is wrong usage`(_ arguments: [String]) throws {
    #expect(try Run.heapctl(["bench"] + arguments).status == 64)
  }

  @Test func `a heap that is not there is named`() throws {
    let run = try Run.heapctl("bench", "--heap", "nonesuch")
    #expect(run.status == 69)
    #expect(run.error.contains("(/dev/dma_heap/nonesuch): no such heap"))
  }

  @Test func `what cannot be had is told before anything is measured`() throws {
    // More than this machine has, and more than any has.
    for size in ["8388608G", "8589934591G"] {
      let run = try Run.heapctl("bench", "--heap", "memfd", "--sizes", "4K,\(size)")
      #expect(run.output == "")
      #expect(run.status == 1)
      #expect(run.error.hasPrefix("heapctl: allocate "))
    }
    let run = try Run.heapctl("bench", "--heap", "memfd", "--heap", "nonesuch", "--sizes", "4K")
    #expect(run.output == "" && run.status == 69)
  }
}
