internal import LinuxHeaps

extension Report {
  /// A line for each result, one for each device that it is about, and one that sums up.
  package var text: String {
    let lines = results.flatMap { [$0.line] + $0.deviceLines } + [summary]
    return lines.map { $0 + "\n" }.joined()
  }

  /// The Kernel Test Anything Protocol, version 1 (Documentation/dev-tools/ktap.rst): a test for each
  /// heap, a subtest for each check.
  package var ktap: String {
    let heaps = checkedHeaps
    var lines = ["KTAP version 1", "1..\(heaps.count)"]
    lines.append("# heapctl verify, Linux \(kernelRelease.visible), seed \(seed)")
    for (number, heap) in zip(1..., heaps) {
      let results = results(of: heap)
      lines += ["KTAP version 1", "# Subtest: \(heap.visibleWithoutHash)", "1..\(results.count)"]
        .map(indented)
      for (number, result) in zip(1..., results) { lines += result.ktap(number).map(indented) }
      lines.append(result(number, heap.visibleWithoutHash, results.map(\.outcome)))
    }
    lines.append("# \(summary)")
    return lines.map { $0 + "\n" }.joined()
  }

  /// A test of which every subtest was skipped was skipped itself.
  private func result(_ number: Int, _ name: String, _ outcomes: [Outcome]) -> String {
    if outcomes.contains(.fail) { return "not ok \(number) \(name)" }
    return "ok \(number) \(name)" + (outcomes.contains(.pass) ? "" : " # SKIP")
  }

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

extension Report.DeviceAnswer {
  fileprivate var line: String { "\(device.visible) \(answer.visible)" }
}

extension Report.Result {
  package var line: String {
    "\(outcome.rawValue)  \(heap.visible)  \(check.visible): \((reason ?? claim).visible)"
  }

  package var deviceLines: [String] { answers.map { "      \($0.line)" } }

  /// The result, after what explains it: a failure has no place for words in its own line.
  fileprivate func ktap(_ number: Int) -> [String] {
    let name = check.visibleWithoutHash
    let why = (reason ?? "").visible
    return switch outcome {
    case .pass: answers.map { "# \(name): \($0.line)" } + ["ok \(number) \(name)"]
    case .fail: ["# \(name): \(claim.visible)", "# \(why)", "not ok \(number) \(name)"]
    case .skip: ["ok \(number) \(name) # SKIP \(why)"]
    }
  }

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

private func indented(_ line: String) -> String { "  " + line }

extension String {
  /// Visible, and without `#`, which begins a directive in KTAP.
  fileprivate var visibleWithoutHash: String {
    // By scalar: a `#` with an accent is another character to Swift, and still a `#` to a parser.
    visible.unicodeScalars.map { $0 == "#" ? "\\u{23}" : String($0) }.joined()
  }
}
