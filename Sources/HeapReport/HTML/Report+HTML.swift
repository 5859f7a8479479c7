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
