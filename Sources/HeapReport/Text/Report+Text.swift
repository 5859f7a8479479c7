extension Report {
  /// A line for each result, and one that sums up.
  package var text: String {
    results.map { $0.line + "\n" }.joined() + summary + "\n"
  }
}

extension Report.Result {
  package var line: String {
    "\(outcome.rawValue)  \(heap.visible)  \(check.visible): \((reason ?? claim).visible)"
  }
}
