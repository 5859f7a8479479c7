import Foundation
import HeapReport
import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// The page, as Chromium shows it, against the JSON.
@Suite struct BrowserTests {
  /// What can be seen: `innerText` leaves out what is not rendered, a box of no size is not seen.
  private static let probe = """
    (() => {
      const seen = e => { const b = e.getBoundingClientRect(); return b.width > 1 && b.height > 1; };
      const text = e => seen(e) ? e.innerText.trim() : "";
      const all = (selector, within = document) => [...within.querySelectorAll(selector)];
      const light = c => { const v = c.match(/[0-9.]+/g).slice(0, 3).map(x => x / 255)
        .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
      const ground = e => { const c = getComputedStyle(e).backgroundColor;
        return c === "rgba(0, 0, 0, 0)" && e.parentElement ? ground(e.parentElement) : c; };
      const contrast = e => { const a = light(getComputedStyle(e).color), b = light(ground(e));
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); };
      const words = all("h1,h2,h3,p,li,b,td,th,th span,dt,dd,code,pre,figcaption,a").filter(seen);
      return {
        title: document.title, verdict: text(document.querySelector("h1")),
        tally: all(".tally li").map(text),
        heads: all("#checks thead th").map(text),
        rows: all("#checks tbody tr").map(r => [text(r.querySelector("th code")),
          ...all("td", r).map(text)]),
        links: all("#checks td.fail a").map(a => text(document.querySelector(
          a.getAttribute("href") + " h3"))),
        failures: all("#failures article").map(a => all("h3,dd", a).map(text)),
        skips: all("#skips tbody tr").map(r => all("td", r).map(text)),
        devices: all("#devices tr").map(r => all("th,td", r).map(text)),
        heaps: all("#heaps tbody tr").map(r => all("th,td", r).map(text)),
        plots: all("#latency figure").map(f => [text(f.querySelector("figcaption")),
          all("circle", f).filter(seen).length, ...all("text.figure,text.size", f).map(t =>
          seen(t) ? t.textContent : "")]),
        facts: all("#machine dd").map(text), options: all(".options li").map(text),
        contrast: Math.min(...words.map(contrast)),
        overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        clipped: all("section, section > *, article, dl, dd").filter(e => !e.matches(".wide, .matrix")
          && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map(e => e.outerHTML.slice(0, 80)),
        fetched: performance.getEntriesByType("resource").length,
        embedded: document.getElementById("report").textContent,
      };
    })()
    """

  @Test(.enabled(if: Browser.isWanted, Browser.reason), arguments: [false, true], [1280, 500])
  func `odd names and every outcome are shown as they are`(dark: Bool, width: Int) throws {
    try Self.agrees(with: .sample, dark: dark, width: width)
  }

  @Test(.enabled(if: Browser.isWanted, Browser.reason))
  func `the page of a run shows what its JSON says`() throws {
    let run = try Run.heapctl("verify", "--heap", "memfd", "--heap", "opaque", "--format", "html")
    #expect(run.status == 0)
    let report = try Report(reading: run.output)
    #expect(report.results.count == [HeapUnderTest.memfd, .opaque].flatMap(HeapCheck.all).count)
    #expect(try report.html == run.output)
    try Self.agrees(with: report)
  }

  @Test(.enabled(if: Browser.isWanted, Browser.reason))
  func `it is a picture, on a wide screen and on a telephone's`() throws {
    let html = try Report.sample.html
    let browser = try Browser()
    for width in [1280, 500] {
      let picture = try browser.screenshot(of: html, width: width, height: 2000)
      #expect(
        Array(picture.prefix(8))
          == Array("\u{89}PNG\r\n\u{1A}\n".unicodeScalars.map { UInt8($0.value) }))
      #expect(picture.bigEndian(at: 16) == width && picture.bigEndian(at: 20) == 2000)
      // An empty page of this size is compressed to a few thousand bytes.
      #expect(picture.count > 40_000)
    }
  }

  @Test func `it has no script and fetches nothing`() throws {
    // With no name resolved, a browser would show what it could not fetch; this says it of all of it.
    let html = try Report.sample.html
    let page = try #require(html.components(separatedBy: "<script").first)
    #expect(html.components(separatedBy: "<script").count == 2)
    for word in ["src=", "url(", "@import", "<link", "http:", "https:", "onclick", "javascript:"] {
      #expect(!page.contains(word))
    }
  }

  static func agrees(with report: Report, dark: Bool = false, width: Int = 1280) throws {
    let browser = try Browser()
    let found = try browser.evaluate(probe, in: try report.html, dark: dark, width: width)
    let page = try #require(found as? [String: Any])
    func list(_ name: String) -> [String] { page[name] as? [String] ?? [] }
    func table(_ name: String) -> [[String]] { page[name] as? [[String]] ?? [] }

    let (passed, failed) = (report.count(.pass), report.count(.fail))
    #expect(
      page["verdict"] as? String
        == (failed == 0
          ? "All \(passed) checks passed" : "\(failed) of \(failed + passed) checks failed"))
    #expect(
      list("tally").prefix(3) == [
        "\(passed) passed", "\(failed) failed", "\(report.count(.skip)) skipped",
      ])
    #expect(list("tally").contains("\(report.seed) seed"))

    // The matrix, cell by cell.
    let heaps = Array(list("heads").dropFirst())
    #expect(Set(heaps) == Set(report.results.map(\.heap.visible)))
    #expect(heaps.count == Set(heaps).count)
    let rows = table("rows")
    #expect(rows.map(\.first) == Set(report.results.map(\.check.visible)).sorted())
    for row in rows {
      #expect(row.count == 1 + heaps.count)
      for (heap, cell) in zip(heaps, row.dropFirst()) {
        let result = report.results.first { $0.heap.visible == heap && $0.check.visible == row[0] }
        let wanted =
          switch result?.outcome {
          case .pass: "✓ pass"
          case .fail: "✗ fail"
          case .skip: "– skip"
          case nil: "·"
          }
        #expect(
          cell.split(separator: "\n").first.map(String.init) == wanted, "\(row[0]) on \(heap)")
      }
    }

    let failures = report.results.filter { $0.outcome == .fail }
    #expect(table("failures").map { $0[0] } == failures.map { "\($0.check) on \($0.heap)".visible })
    for (shown, failure) in zip(table("failures"), failures) {
      #expect(shown[1] == failure.claim.visible)
      let reason = try #require(failure.reason).visible
      #expect(reason == shown[2] || reason == "\(shown[2]) To fix it: \(shown[3])")
    }
    #expect(list("links").sorted() == table("failures").map { $0[0] }.sorted())
    let reasons = Set(report.results.filter { $0.outcome == .skip }.map { $0.reason?.visible })
    #expect(Set(table("skips").map(\.first)) == reasons)

    let shown = table("devices")
    for row in shown.dropFirst() {
      for (heap, answer) in zip(shown[0], row).dropFirst() {
        let answers = report.results.filter { $0.heap.visible == heap }.flatMap(\.answers)
          .filter { $0.device.visible == row[0] }.map(\.answer)
        #expect(answer == (answers.isEmpty ? "–" : answers.joined(separator: "; ")))
      }
    }
    let devices = report.results.flatMap(\.answers).map(\.device.visible)
    #expect(
      shown.dropFirst().map(\.first)
        == devices.reduce(into: []) { all, device in
          if !all.contains(device) { all.append(device) }
        })

    #expect(table("heaps").map(\.first) == report.heaps.map(\.name.visible))
    let plots = page["plots"] as? [[Any]] ?? []
    let measured = report.latencies.filter { !$0.nanoseconds.isEmpty }
    for plot in plots {
      let heap = try #require(plot[0] as? String)
      let of = measured.filter { $0.heap.visible == heap }
      #expect(plot[1] as? Int == of.reduce(0) { $0 + $1.nanoseconds.count })
      #expect(plot.count == 2 + 4 * of.count)
    }
    #expect(Set(plots.map { $0[0] as? String }) == Set(measured.map(\.heap.visible)))
    #expect(list("options").count == report.machine.options.count)
    #expect(!list("facts").contains(""))

    // Ordinary text of at least 4.5 to 1 (WCAG 2.2, 1.4.3).
    #expect(try #require(page["contrast"] as? Double) >= 4.5)
    #expect(page["overflow"] as? Int == 0)
    #expect(list("clipped") == [])
    #expect(page["fetched"] as? Int == 0)
    #expect(try Report(reading: try #require(page["embedded"] as? String)) == report)
  }
}

extension Data {
  fileprivate func bigEndian(at offset: Int) -> Int {
    guard count >= offset + 4 else { return 0 }
    return self[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
  }
}
