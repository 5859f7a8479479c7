internal import LinuxHeaps

extension Report {
  /// One file that needs no other and no script: what a person attaches to a bug report. It holds the
  /// report's own JSON too.
  package var html: String {
    get throws {
      let page: Markup = """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>\(verdict) — heapctl verify on Linux \(kernelRelease)</title>
        <style>
        \(Page.style)
        </style>
        </head>
        <body>
        \(header)
        <main>
        \(failureSection)\(heapSection)\(matrixSection)\(deviceSection)\(skipSection)\
        \(latencySection)\(machineSection)\(repeatSection)</main>
        \(Markup(trusted: Self.scriptStart))\(Markup(trusted: try embeddableJSON))</script>
        </body>
        </html>

        """
      return page.text
    }
  }

  private var header: Markup {
    let mood: Markup = count(.fail) > 0 ? "bad" : count(.pass) > 0 ? "good" : "mixed"
    let title = machine.model.map { "\($0), Linux \(kernelRelease)" } ?? "Linux \(kernelRelease)"
    return """
      <header class="\(mood)">
      <p class="kind">Heap report</p>
      <h1>\(verdict)</h1>
      <p class="where">\(title)</p>
      <ul class="tally">
      <li class="pass"><b>\(count(.pass))</b> passed</li>
      <li class="fail"><b>\(count(.fail))</b> failed</li>
      <li class="skip"><b>\(count(.skip))</b> skipped</li>
      <li><b>\(checkedHeaps.count)</b> \(checkedHeaps.count == 1 ? "heap" : "heaps")</li>
      <li><b>\(seed)</b> seed</li>
      <li><b><time datetime="\(date)">\(readableDate)</time></b> UTC</li>
      </ul>
      </header>
      """
  }

  private var verdict: String {
    let failed = count(.fail)
    let ran = failed + count(.pass)
    if ran == 0 { return "No check could run" }
    return failed == 0
      ? (ran == 1 ? "The check passed" : "All \(ran) checks passed")
      : "\(failed) of \(ran) checks failed"
  }

  private var readableDate: String {
    String((date.hasSuffix("Z") ? date.dropLast() : date[...]).map { $0 == "T" ? " " : $0 })
  }

  /// What did not hold, and what to do about it. First on the page, and absent where nothing failed.
  private var failureSection: Markup {
    let failures = results.enumerated().filter { $0.element.outcome == .fail }
    if failures.isEmpty { return "" }
    let articles: [Markup] = failures.map { number, failure in
      let (reason, fix) = failure.reasonAndFix
      let cure: Markup = fix.map { "<code>\($0)</code>" } ?? advice(for: failure)
      return """
        <article id="result-\(number)">
        <h3><code>\(failure.check)</code> on <code>\(failure.heap)</code></h3>
        <dl>
        <dt>Should hold</dt><dd>\(failure.claim)</dd>
        <dt>Found</dt><dd class="found">\(reason)</dd>
        <dt>What to do</dt><dd>\(cure)</dd>
        </dl>
        </article>

        """
    }
    return Page.section("failures", "Failures", "\(articles)")
  }

  /// Checks that did not run, gathered by what the machine lacks for them.
  private var skipSection: Markup {
    let skips = results.filter { $0.outcome == .skip }
    if skips.isEmpty { return "" }
    let rows: [[Markup]] = skips.map { $0.reason ?? "" }.withoutRepetition.map { reason in
      let checks = skips.filter { ($0.reason ?? "") == reason }
      let names: [Markup] = checks.map { "<code>\($0.check)</code> on <code>\($0.heap)</code><br>" }
      return ["<td>\(reason)</td>", "<td>\(names)</td>"]
    }
    return Page.section("skips", "Skipped", Page.table(["What is missing", "Checks"], rows))
  }

  private func advice(for failure: Result) -> Markup {
    let command = "heapctl verify --heap \(failure.heap.shellWord) --seed \(seed)"
    return """
      Run it again: <code class="command">\(command)</code>If it fails again, the heap breaks what its \
      users rely on: report it to whoever made this kernel’s heap driver, with this page attached.
      """
  }

  private var heapSection: Markup {
    if heaps.isEmpty { return "" }
    let heads = [
      "Name", "Role", "Kind", "Node", "Owner and mode", "Capacity", "Free", "Same memory as",
    ]
    return Page.section("heaps", "Heaps", Page.table(heads, heaps.map(\.cells)))
  }

  /// Checks by heaps. Each cell says its outcome in a word and a sign, not by colour alone.
  private var matrixSection: Markup {
    let heaps = checkedHeaps
    if heaps.isEmpty { return "" }
    // They ran in an order that follows from the seed; a reader looks for names.
    let checks = results.map(\.check).withoutRepetition.sorted()
    let rows: [[Markup]] = checks.map { check in
      let claim = results.first { $0.check == check }?.claim ?? ""
      let head: Markup = "<th scope=\"row\"><code>\(check)</code> <span>\(claim)</span></th>"
      return [head]
        + heaps.map { heap in
          results.indices.last { results[$0].heap == heap && results[$0].check == check }
            .map { results[$0].cell(number: $0) } ?? Self.absent
        }
    }
    let table = Page.table(["Check"] + heaps, rows)
    return Page.section("checks", "Checks", "<div class=\"matrix\">\(table)</div>\n\(Self.legend)")
  }

  private static let absent: Markup =
    "<td class=\"none\"><span aria-hidden=\"true\">·</span><span class=\"aside\">no such check</span></td>"

  private static let legend: Markup = """
    <p class="note">A dot: the check does not apply to that kind of heap. A failed cell leads to its \
    reason; the time that each check took shows under the pointer, and is in the JSON in this file.</p>
    """

  /// Devices by heaps: which of them take whose memory. Absent where no device was asked.
  private var deviceSection: Markup {
    let asked = results.filter { !$0.answers.isEmpty }
    let devices = asked.flatMap(\.answers).map(\.device).withoutRepetition
    if devices.isEmpty { return "" }
    let heaps = asked.map(\.heap).withoutRepetition
    let rows: [[Markup]] = devices.map { device in
      ["<th scope=\"row\"><code>\(device)</code></th>"]
        + heaps.map { heap in
          let answers = asked.filter { $0.heap == heap }.flatMap(\.answers)
            .filter { $0.device == device }.map(\.answer).withoutRepetition
          return Page.cell(answers.isEmpty ? nil : answers.joined(separator: "; "))
        }
    }
    return Page.section("devices", "Devices", Page.table(["Device"] + heaps, rows))
  }

  /// For each heap a plot, whose description has the same figures.
  private var latencySection: Markup {
    if latencies.isEmpty { return "" }
    let gaps: [Markup] = latencies.compactMap { latency in
      latency.reason.map {
        """
        <p class="note">\(latency.sizeBytes.asByteCount) on <code>\(latency.heap)</code> was measured \
        \(latency.nanoseconds.count) times: \($0)</p>

        """
      }
    }
    return Page.section("latency", "Latency of allocations", "\(latencyPlots)\(gaps)")
  }

  private var latencyPlots: Markup {
    let measured = latencies.filter { !$0.nanoseconds.isEmpty }
    if measured.isEmpty { return "" }
    let axis = LogAxis(covering: measured.flatMap(\.nanoseconds), left: 70, right: 420)
    let figures: [Markup] = measured.map(\.heap).withoutRepetition.map { heap in
      LatencyPlot(heap: heap, rows: measured.filter { $0.heap == heap }, axis: axis).markup
    }
    return """
      <p class="note">Each dot is one allocation, on the same logarithmic scale for all heaps; the bar spans \
      5 to 95 percent of them, the stroke is the median. The kernel zeroes a dma-buf when it is made; \
      a memfd gets its pages only when they are touched.</p>
      <div class="plots">
      \(figures)</div>

      """
  }

  private var machineSection: Markup {
    let facts: [Markup] = machine.facts.map { "<dt>\($0.label)</dt><dd>\($0.value)</dd>\n" }
    let body: Markup = "<dl class=\"facts\">\n\(facts)</dl>\n\(options)"
    return Page.section("machine", "Machine", body)
  }

  private var options: Markup {
    guard let source = machine.optionsSource else {
      return """
        <p class="note">The kernel’s options are not known: neither /proc/config.gz nor \
        /boot/config-\(kernelRelease) can be read.</p>
        """
    }
    let options = machine.options.sorted { $0.key < $1.key }
    let items: [Markup] = options.map { name, value in
      let isSet = value != "n"
      return """
        <li\(isSet ? "" : Markup(trusted: " class=\"unset\""))><code>CONFIG_\(name)</code> \
        <b>\(isSet ? value : "not set")</b></li>

        """
    }
    return "<h3>Kernel options, from \(source)</h3>\n<ul class=\"options\">\n\(items)</ul>"
  }

  private var repeatSection: Markup {
    Page.section(
      "repeat", "The same run again",
      """
      <p>The order of the checks and what they write follow from the seed:</p>
      <pre>heapctl verify --seed \(seed)</pre>
      <p>This file holds its data as JSON, which makes it any other format:</p>
      <pre>heapctl verify --from FILE.html --format json</pre>
      """)
  }
}

/// What all sections of the page share.
enum Page {
  static func section(_ id: Markup, _ title: Markup, _ body: Markup) -> Markup {
    """
    <section id="\(id)">
    <h2>\(title)</h2>
    \(body)
    </section>

    """
  }

  /// - Parameter rows: The cells of each row, with their tags.
  static func table(_ heads: [String], _ rows: [[Markup]]) -> Markup {
    let heads: [Markup] = heads.map { "<th scope=\"col\">\(breakable($0))</th>" }
    let rows: [Markup] = rows.map { "<tr>\($0)</tr>\n" }
    return """
      <div class="wide"><table>
      <thead><tr>\(heads)</tr></thead>
      <tbody>
      \(rows)</tbody>
      </table></div>
      """
  }

  /// A name that may be broken where its parts are joined, and only there.
  static func breakable(_ name: String) -> Markup {
    let parts: [Markup] = name.unicodeScalars.map {
      "_-,./".unicodeScalars.contains($0) ? "\(String($0))<wbr>" : "\(String($0))"
    }
    return "\(parts)"
  }

  static func cell(_ text: String?) -> Markup { text.map { "<td>\($0)</td>" } ?? "<td>–</td>" }
}

extension Report.Result {
  /// An error's own words end with its fix, after `To fix it:`.
  fileprivate var reasonAndFix: (String, String?) {
    let words = reason ?? ""
    guard let parts = words.parted(at: " To fix it: ") else { return (words, nil) }
    return (parts.before, parts.after)
  }

  fileprivate func cell(number: Int) -> Markup {
    let time = nanoseconds?.asTime ?? "did not run"
    return switch outcome {
    case .pass: "<td class=\"pass\" title=\"\(time)\"><i aria-hidden=\"true\">✓</i> pass</td>"
    case .fail:
      """
      <td class="fail" title="\(time)"><a href="#result-\(number)"><i aria-hidden="true">✗</i> fail</a></td>
      """
    case .skip: "<td class=\"skip\" title=\"\(time)\"><i aria-hidden=\"true\">–</i> skip</td>"
    }
  }
}

extension Report.Heap {
  fileprivate var cells: [Markup] {
    let rights = owner.map { "\($0):\(group ?? "–") \(mode ?? "")" }
    return [
      "<th scope=\"row\"><code>\(name)</code></th>", Page.cell(role), Page.cell(kind),
      Page.cell(path ?? "built in"),
      Page.cell((rights ?? "–") + (usable ? "" : ", closed to this user")),
      Page.cell(capacityBytes?.asByteCount), Page.cell(freeBytes?.asByteCount),
      Page.cell(duplicateOf),
    ]
  }
}

extension String {
  /// As one word of a POSIX shell.
  fileprivate var shellWord: String {
    let plain = unicodeScalars.allSatisfy {
      $0.isASCII && ($0.properties.isAlphabetic || "0123456789_-.,@/:+".unicodeScalars.contains($0))
    }
    let quoted = unicodeScalars.map { $0 == "'" ? "'\\''" : String($0) }.joined()
    return plain && !isEmpty ? self : "'\(quoted)'"
  }
}

/// The distribution of allocation latency on one heap: a row for each size.
private struct LatencyPlot {
  let heap: String
  let rows: [Report.Latency]
  let axis: LogAxis

  private static let width = 640
  private static let rowHeight = 34
  private static let top = 24

  private var bottom: Int { Self.top + rows.count * Self.rowHeight }

  var markup: Markup {
    let rows: [Markup] = zip(0..., self.rows).map { row($1, at: Self.top + $0 * Self.rowHeight) }
    return """
      <figure>
      <figcaption><code>\(heap)</code></figcaption>
      <svg viewBox="0 0 \(Self.width) \(bottom + 24)" role="img" aria-label="\(description)">
      <text class="head" x="\(Self.width - 150)" y="14" text-anchor="end">median</text>
      <text class="head" x="\(Self.width - 75)" y="14" text-anchor="end">95 %</text>
      <text class="head" x="\(Self.width)" y="14" text-anchor="end">slowest</text>
      \(axis.grid(from: Self.top, to: bottom))\(rows)</svg>
      </figure>

      """
  }

  /// All figures, for screen readers.
  private var description: String {
    "Allocation latency of \(heap). "
      + rows.map { row in
        "\(row.sizeBytes.asByteCount): median \(row.figure(50)), 95 percent under \(row.figure(95)), "
          + "slowest \(row.figure(100))."
      }.joined(separator: " ")
  }

  private func row(_ latency: Report.Latency, at y: Int) -> Markup {
    let middle = y + Self.rowHeight / 2
    func x(_ percent: Int) -> Double { axis.position(of: latency.percentile(percent) ?? 0) }
    let width = max(x(95) - x(5), 2)
    let dots: [Markup] = zip(0..., latency.nanoseconds).map { index, time in
      // Spread over the row's height, always in the same way.
      let offset = index * 7 % 17 - 8
      return """
        <circle cx="\(axis.position(of: time).coordinate)" cy="\(middle + offset)" r="2"/>
        """
    }
    return """
      <text class="size" x="0" y="\(middle + 4)">\(latency.sizeBytes.asByteCount)</text>
      <rect class="span" x="\(x(5).coordinate)" y="\(middle - 11)" width="\(width.coordinate)" height="22" rx="3"/>
      <g class="dots">\(dots)</g>
      <line class="median" x1="\(x(50).coordinate)" x2="\(x(50).coordinate)" y1="\(middle - 13)" y2="\(middle + 13)"/>
      <text class="figure" x="\(Self.width - 150)" y="\(middle + 4)" text-anchor="end">\(latency.figure(50))</text>
      <text class="figure" x="\(Self.width - 75)" y="\(middle + 4)" text-anchor="end">\(latency.figure(95))</text>
      <text class="figure" x="\(Self.width)" y="\(middle + 4)" text-anchor="end">\(latency.figure(100))</text>

      """
  }
}

extension Report.Latency {
  fileprivate func figure(_ percent: Int) -> String { percentile(percent)?.asTime ?? "–" }
}
