internal import LinuxHeaps

extension Report {
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
}

extension Report.Result {
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
}

private func indented(_ line: String) -> String { "  " + line }

extension String {
  /// Visible, and without `#`, which begins a directive in KTAP.
  fileprivate var visibleWithoutHash: String {
    // By scalar: a `#` with an accent is another character to Swift, and still a `#` to a parser.
    visible.unicodeScalars.map { $0 == "#" ? "\\u{23}" : String($0) }.joined()
  }
}
