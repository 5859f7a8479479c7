import Foundation
import Glibc
import HeapReport
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// The binary in each format, for root and for an ordinary user.
@Suite struct EveryFormatTests {
  /// A program that becomes an ordinary user; none where the test is one.
  static let ordinaryUser =
    geteuid() == 0
    ? ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : []

  /// Each is five runs: an emulated machine takes the shortest, and its ordinary user below.
  @Test(arguments: Browser.isWanted ? [[], ordinaryUser] : [[]])
  func `the formats of one seed say the same`(through user: [String]) throws {
    let heaps: [HeapUnderTest] = Browser.isWanted ? [.memfd, .opaque] : [.opaque]
    let words = heaps.flatMap { ["--heap", $0.name] }
    func run(_ format: String) throws -> String {
      let run = try Run.heapctl(
        ["verify", "--seed", "77", "--format", format] + words, through: user)
      #expect(run.status == 0 && run.error == "")
      return run.output
    }
    let report = try Report(reading: try run("json"))
    #expect(report.seed == 77)
    #expect(report.results.count == heaps.flatMap { HeapCheck.all(for: $0) }.count)
    #expect(
      report.machine.user?.hasPrefix(user.isEmpty && geteuid() == 0 ? "root" : "user ") == true)
    #expect(try run("text") == report.text)
    #expect(try run("ktap") == report.ktap)
    #expect(try run("junit").withoutTimes == report.junit.withoutTimes)
    let page = try Report(reading: try run("html"))
    #expect(page.withoutTimes == report.withoutTimes)
    #expect(
      report.latencies.map(\.nanoseconds.count) == Array(repeating: 50, count: 4 * heaps.count))
    #expect(page.latencies.map(\.nanoseconds.count) == Array(repeating: 50, count: 4 * heaps.count))
  }

  /// Every heap of this machine: outside those that are built in, in the test kernels all.
  @Test func `all heaps pass, in every format`() throws {
    let run = try Run.heapctl("verify", "--seed", "78", "--format", "json")
    #expect(run.error == "")
    let report = try Report(reading: run.output)
    let heaps = HeapUnderTest.all()
    #expect(run.status == 0, "\(report.results.filter { $0.outcome == .fail })")
    #expect(report.heaps.map(\.name) == heaps.map(\.name))
    #expect(
      report.results.map { [$0.heap, $0.check] }
        == heaps.flatMap { heap in
          HeapCheck.all(for: heap, orderedBy: 78).map { [heap.name, $0.name] }
        })
    #expect(report.latencies.count == 4 * heaps.count)
    for latency in report.latencies {
      // No buffer of huge pages is larger than one, 2 MiB on the machine of the test kernels.
      let isTooLarge = latency.heap == HugeHeap.name && latency.sizeBytes > 2 << 20
      #expect(latency.nanoseconds.count == (isTooLarge ? 0 : 50))
      #expect((latency.reason == nil) != isTooLarge)
    }

    let tests = try KTAP(report.ktap).tests
    #expect(tests.map(\.name) == heaps.map(\.name))
    #expect(tests.allSatisfy { $0.outcome == "pass" })
    #expect(
      tests.flatMap { test in test.tests.map { [test.name, $0.name, $0.outcome] } }
        == report.results.map { [$0.heap, $0.check, $0.outcome.rawValue] })
    try MachineFormatTests.agrees(try JUnit(report.junit), with: report)
    let answers = report.results.map(\.answers.count).reduce(0, +)
    #expect(report.text.split(separator: "\n").count == report.results.count + answers + 1)
    if Browser.isWanted { try BrowserTests.agrees(with: report) }
  }

  @Test(
    .enabled(if: geteuid() == 0 && !HeapCatalog().heaps().isEmpty, "needs root and /dev/dma_heap"))
  func `a heap that its user may not open is skipped, and shown as closed`() throws {
    let run = try Run.heapctl("verify", "--format", "json", through: Self.ordinaryUser)
    let report = try Report(reading: run.output)
    #expect(run.status == 0)
    for entry in HeapCatalog().heaps() {
      let result = try #require(report.results.first { $0.heap == entry.name })
      #expect(result.check == "all" && result.outcome == .skip)
      #expect(
        result.reason?.hasPrefix("/dev/dma_heap/\(entry.name) is \(try #require(entry.node))")
          == true)
      let heap = try #require(report.heaps.first { $0.name == entry.name })
      #expect(!heap.usable && heap.mode == entry.node?.octalMode)
    }
    let tests = try KTAP(report.ktap).tests
    #expect(tests.count { $0.outcome == "skip" } == HeapCatalog().heaps().count)
    try MachineFormatTests.agrees(try JUnit(report.junit), with: report)
    if Browser.isWanted { try BrowserTests.agrees(with: report) }
  }
}

extension Report {
  /// What two runs of one seed have in common.
  fileprivate var withoutTimes: Report {
    var report = self
    report.date = ""
    report.latencies = []
    report.machine.availableBytes = nil
    report.machine.contiguousFreeBytes = nil
    report.machine.noise = nil
    for index in report.heaps.indices { report.heaps[index].freeBytes = nil }
    for index in report.results.indices { report.results[index].nanoseconds = nil }
    return report
  }
}

extension String {
  fileprivate var withoutTimes: String {
    [
      #"time="[0-9.]+""#, #"timestamp="[^"]+""#, #"value="[^"]+ (available|free)""#,
      #" *<property name="noise"[^>]*>\n"#,
    ].reduce(self) {
      $0.replacingOccurrences(of: $1, with: "", options: .regularExpression)
    }
  }
}
