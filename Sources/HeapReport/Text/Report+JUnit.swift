extension Report {
  /// JUnit's XML as continuous integration reads it: a suite for each heap, a case for each check.
  ///
  /// It is valid by the schema of Ant's task and by that of Jenkins' plug-in. The first allows the
  /// root no attributes, and asks for a time without a zone and for a host's name, "localhost" where
  /// there is none to tell.
  package var junit: String {
    let suites = checkedHeaps.enumerated().map { suite($0, $1) }
    let document: Markup = """
      <?xml version="1.0" encoding="UTF-8"?>
      <testsuites>
      \(suites)</testsuites>

      """
    return document.text
  }

  private func suite(_ id: Int, _ heap: String) -> Markup {
    let results = results(of: heap)
    func count(_ outcome: Outcome) -> Int { results.count { $0.outcome == outcome } }
    let time = results.reduce(0) { $0 + ($1.nanoseconds ?? 0) }
    let facts =
      [("kernelRelease", kernelRelease), ("seed", "\(seed)")]
      + machine.facts.map { ($0.id, $0.value) }
    let properties: [Markup] = facts.map {
      "      <property name=\"\($0)\" value=\"\($1)\"/>\n"
    }
    let answers: [Markup] = results.flatMap { result in
      result.answers.map { "\(result.check): \($0.line)\n" }
    }
    let output: Markup =
      answers.isEmpty ? "<system-out/>" : "<system-out>\(answers)</system-out>"
    return """
        <testsuite id="\(id)" package="heapctl.verify" name="\(heap)" timestamp="\(localTime)" \
      hostname="localhost" tests="\(results.count)" failures="\(count(.fail))" errors="0" \
      skipped="\(count(.skip))" time="\(time.asSeconds)">
          <properties>
      \(properties)    </properties>
      \(results.map(\.testCase))    \(output)
          <system-err/>
        </testsuite>

      """
  }

  private var localTime: String { date.hasSuffix("Z") ? String(date.dropLast()) : date }
}

extension Report.Result {
  fileprivate var testCase: Markup {
    let opening: Markup =
      "    <testcase classname=\"\(heap)\" name=\"\(check)\" time=\"\((nanoseconds ?? 0).asSeconds)\""
    let why = reason ?? ""
    return switch outcome {
    case .pass: "\(opening)/>\n"
    case .fail:
      """
      \(opening)>
            <failure type="check" message="\(why)">\(claim)
      \(why)</failure>
          </testcase>

      """
    case .skip:
      """
      \(opening)>
            <skipped message="\(why)"/>
          </testcase>

      """
    }
  }
}
