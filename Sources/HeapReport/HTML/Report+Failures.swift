extension Report {
  /// What did not hold, and what to do about it. First on the page, and absent where nothing failed.
  var failureSection: Markup {
    let failures = results.enumerated().filter { $0.element.outcome == .fail }
    if failures.isEmpty { return "" }
    let articles: [Markup] = failures.map { number, failure in
      let (reason, fix) = failure.reasonAndFix
      return """
        <article id="result-\(number)">
        <h3><code>\(failure.check)</code> on <code>\(failure.heap)</code></h3>
        <dl>
        <dt>Should hold</dt><dd>\(failure.claim)</dd>
        <dt>Found</dt><dd class="found">\(reason)</dd>
        <dt>What to do</dt><dd>\(fix.map(code) ?? advice(for: failure))</dd>
        </dl>
        </article>

        """
    }
    return Page.section("failures", "Failures", "\(articles)")
  }

  /// Checks that did not run, gathered by what the machine lacks for them.
  var skipSection: Markup {
    let skips = results.filter { $0.outcome == .skip }
    if skips.isEmpty { return "" }
    let rows: [[Markup]] = skips.map { $0.reason ?? "" }.withoutRepetition.map { reason in
      let checks = skips.filter { ($0.reason ?? "") == reason }
      let names: [Markup] = checks.map { "<code>\($0.check)</code> on <code>\($0.heap)</code><br>" }
      return ["<td>\(reason)</td>", "<td>\(names)</td>"]
    }
    return Page.section("skips", "Skipped", Page.table(["What is missing", "Checks"], rows))
  }

  private func code(_ fix: String) -> Markup { "<code>\(fix)</code>" }

  private func advice(for failure: Result) -> Markup {
    let command = "heapctl verify --heap \(failure.heap.shellWord) --seed \(seed)"
    return """
      Run it again: <code class="command">\(command)</code>If it fails again, the heap breaks what its \
      users rely on: report it to whoever made this kernel’s heap driver, with this page attached.
      """
  }
}

extension Report.Result {
  /// An error's own words end with its fix, after `To fix it:`.
  fileprivate var reasonAndFix: (String, String?) {
    let words = reason ?? ""
    guard let mark = words.firstRange(of: " To fix it: ") else { return (words, nil) }
    return (String(words[..<mark.lowerBound]), String(words[mark.upperBound...]))
  }
}

extension String {
  /// As one word of a POSIX shell.
  var shellWord: String {
    let plain = unicodeScalars.allSatisfy {
      $0.isASCII && ($0.properties.isAlphabetic || "0123456789_-.,@/:+".unicodeScalars.contains($0))
    }
    let quoted = unicodeScalars.map { $0 == "'" ? "'\\''" : String($0) }.joined()
    return plain && !isEmpty ? self : "'\(quoted)'"
  }
}
