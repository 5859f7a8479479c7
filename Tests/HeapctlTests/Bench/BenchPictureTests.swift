import Foundation
import FoundationXML
import HeapReport
import TestSupport
import Testing

/// `bench --svg FILE`, read back by a parser of XML.
@Suite struct BenchPictureTests {
  private static func file() -> String {
    FileManager.default.temporaryDirectory.path + "/heapctl-\(UUID().uuidString).svg"
  }

  @Test(arguments: TestHeaps.names)
  func `the picture has the figures of the same run's JSON`(_ heap: String) throws {
    let path = Self.file()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let run = try Run.heapctl(
      "bench", "--heap", heap, "--sizes", "4K,64K", "--rounds", "9", "--json", "--svg", path)
    #expect(run.status == 0)
    let bench = try #require(try run.json["bench"] as? [String: Any])
    let rows = try #require(bench["rows"] as? [[String: Any]])
    let picture = try Picture(String(contentsOfFile: path, encoding: .utf8))
    #expect(picture.texts("heap") == [heap])
    #expect(picture.texts("title").first?.hasPrefix("heapctl bench on Linux ") == true)
    #expect(picture.texts("fact").contains { $0.hasSuffix(", 9 buffers of each size") })
    #expect(picture.rows.count == rows.count)
    #expect(
      picture.rows.map { $0.texts("size") }
        == rows.indices.map { $0 * 2 % rows.count == 0 ? [$0 == 0 ? "4 KiB" : "64 KiB"] : [""] })
    for (drawn, row) in zip(picture.rows, rows) {
      #expect(drawn.texts("step") == [try #require(row["step"] as? String)])
      let times = try #require(row["nanoseconds"] as? [String: Any])
      let figures = try ["p50", "p95", "p99", "max"].map { try #require(times[$0] as? UInt64) }
      #expect(drawn.texts("figure") == figures.map(\.asTime))
      // The marks stand where the axis's own labels say that such times are.
      let marks = try [
        drawn.coordinate("median", "x1"), drawn.coordinate("mark p95", "x1"),
        drawn.coordinate("mark p99", "x1"), drawn.coordinate("slowest", "cx"),
      ]
      for (mark, time) in zip(marks, figures) {
        let place = try picture.place(of: time)
        #expect(abs(mark - place) <= 0.1)
      }
      let buckets = try #require(times["histogram"] as? [[String: Any]]).filter {
        $0["samples"] as? Int != 0
      }
      let bars = drawn.elements("rect")
      #expect(bars.count == buckets.count)
      let most = buckets.compactMap { $0["samples"] as? Double }.max() ?? 0
      let tallest = bars.compactMap { $0.real("height") }.max() ?? 0
      for (bar, bucket) in zip(bars, buckets) {
        let from = try #require(bucket["fromNanoseconds"] as? UInt64)
        let samples = try #require(bucket["samples"] as? Double)
        let left = try #require(bar.real("x"))
        let height = try #require(bar.real("height"))
        let place = try picture.place(of: from)
        let share: Double = tallest * samples / most
        #expect(abs(left - place) <= 0.1)
        #expect(abs(height - share) <= 0.1)
      }
    }
  }

  @Test func `a picture that cannot be written is told before anything is measured`() throws {
    let path = "\(Self.file())/none.svg"
    let run = try Run.heapctl("bench", "--heap", "memfd", "--svg", path)
    #expect(
      run
        == Run(
          output: "",
          error: "heapctl: write the picture (\(path)): No such file or directory [errno 2]; IO. "
            + "To fix it: name a file in a folder that this user may write to\n", status: 1))
  }

  @Test(arguments: ["0.05", "0.2", "0.5"])
  func `a run that is killed leaves no file`(_ seconds: String) throws {
    let folder = FileManager.default.temporaryDirectory.path + "/heapctl-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let run = try Run.heapctl(
      "bench", "--heap", "memfd", "--rounds", "100000", "--svg", "\(folder)/bench.svg",
      through: ["/usr/bin/timeout", "-s", "KILL", seconds])
    #expect(run.status != 0)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
  }

  @Test(.enabled(if: Browser.isWanted, Browser.reason), arguments: [false, true])
  func `what is written can be read on its ground`(dark: Bool) throws {
    let path = Self.file()
    defer { try? FileManager.default.removeItem(atPath: path) }
    #expect(
      try Run.heapctl(
        "bench", "--heap", "memfd", "--sizes", "4K", "--rounds", "9", "--svg", path
      ).status == 0)
    let svg = try String(contentsOfFile: path, encoding: .utf8)
    let probe = """
      (() => {
        const light = c => { const v = c.match(/[0-9.]+/g).slice(0, 3).map(x => x / 255)
          .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
          return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
        const fill = e => light(getComputedStyle(e).fill);
        const ground = fill(document.querySelector(".ground"));
        const frame = document.querySelector("svg").getBoundingClientRect();
        const words = [...document.querySelectorAll("text")].filter(t => t.textContent);
        return {
          ground, contrast: Math.min(...words.map(t => (Math.max(fill(t), ground) + 0.05)
            / (Math.min(fill(t), ground) + 0.05))),
          outside: words.map(t => t.getBoundingClientRect()).filter(b => b.left < frame.left
            || b.right > frame.right || b.bottom > frame.bottom).length,
        };
      })()
      """
    let found = try Browser().evaluate(
      probe, in: "<!DOCTYPE html><html><body>\(svg)</body></html>", dark: dark)
    let page = try #require(found as? [String: Any])
    // Ordinary text of at least 4.5 to 1 (WCAG 2.2, 1.4.3).
    #expect(try #require(page["contrast"] as? Double) >= 4.5)
    let ground = try #require(page["ground"] as? Double)
    #expect((ground < 0.5) == dark)
    #expect(page["outside"] as? Int == 0)
  }
}

/// What is drawn.
private struct Picture {
  private let root: JUnit.Element
  /// Where two of the axis's labels are, by the logarithms of their times.
  private let scale: [(exponent: Double, x: Double)]

  init(_ svg: String) throws {
    root = try #require(try JUnit(svg).root)
    let units = ["ns": 0.0, "µs": 3, "ms": 6, "s": 9]
    scale = try root.all("text").filter { $0.attributes["class"] == "tick" }.map { tick in
      let words = tick.text.split(separator: " ").map(String.init)
      let exponent = log10(try #require(Double(words[0]))) + (try #require(units[words[1]]))
      return (exponent, try #require(tick.real("x")))
    }
    try #require(scale.count >= 2)
  }

  var rows: [JUnit.Element] { root.all("g").filter { $0.attributes["class"] == "row" } }

  func texts(_ style: String) -> [String] { root.texts(style) }

  func place(of time: UInt64) throws -> Double {
    let (first, last) = (scale[0], scale[scale.count - 1])
    let share = (log10(Double(time)) - first.exponent) / (last.exponent - first.exponent)
    return first.x + share * (last.x - first.x)
  }
}

extension JUnit.Element {
  fileprivate func texts(_ style: String) -> [String] {
    all("text").filter { $0.attributes["class"] == style }.map(\.text)
  }

  fileprivate func real(_ name: String) -> Double? { attributes[name].flatMap(Double.init) }

  fileprivate func elements(_ name: String) -> [JUnit.Element] {
    all(name) + children.flatMap { $0.elements(name) }
  }

  fileprivate func coordinate(_ style: String, _ name: String) throws -> Double {
    try #require(children.first { $0.attributes["class"] == style }?.real(name))
  }
}
