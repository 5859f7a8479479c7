internal import LinuxHeaps

extension Report {
  /// A line for each result, one for each device that it is about, and one that sums up.
  package var text: String {
    let lines = results.flatMap { [$0.line] + $0.deviceLines } + [summary]
    return lines.map { $0 + "\n" }.joined()
  }
}

extension Report.Result {
  package var line: String {
    "\(outcome.rawValue)  \(heap.visible)  \(check.visible): \((reason ?? claim).visible)"
  }

  package var deviceLines: [String] { answers.map { "      \($0.line)" } }
}

extension Report.DeviceAnswer {
  var line: String { "\(device.visible) \(answer.visible)" }
}
