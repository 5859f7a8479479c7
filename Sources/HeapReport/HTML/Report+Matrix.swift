extension Report {
  /// Checks by heaps. Each cell says its outcome in a word and a sign, not by colour alone.
  var matrixSection: Markup {
    let heaps = checkedHeaps
    if heaps.isEmpty { return "" }
    let cells = Dictionary(
      results.enumerated().map { (Place(heap: $1.heap, check: $1.check), $1.cell(number: $0)) },
      uniquingKeysWith: { $1 })
    // They ran in an order that follows from the seed; a reader looks for names.
    let checks = results.map(\.check).withoutRepetition.sorted()
    let rows: [[Markup]] = checks.map { check in
      let claim = results.first { $0.check == check }?.claim ?? ""
      let head: Markup = "<th scope=\"row\"><code>\(check)</code> <span>\(claim)</span></th>"
      return [head] + heaps.map { cells[Place(heap: $0, check: check)] ?? Self.absent }
    }
    let table = Page.table(["Check"] + heaps, rows)
    return Page.section("checks", "Checks", "<div class=\"matrix\">\(table)</div>\n\(Self.legend)")
  }

  private struct Place: Hashable {
    let heap: String
    let check: String
  }

  private static let absent: Markup =
    "<td class=\"none\"><span aria-hidden=\"true\">·</span><span class=\"aside\">no such check</span></td>"

  private static let legend: Markup = """
    <p class="note">A dot: the check does not apply to that kind of heap. A failed cell leads to its \
    reason; the time that each check took shows under the pointer, and is in the JSON in this file.</p>
    """
}

extension Report.Result {
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
