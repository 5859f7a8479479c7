@testable import LinuxHeaps

/// What happened, in order, on whichever thread.
final class Diary: Sendable {
  private let state = Guarded<[String]>([])

  var entries: [String] { state.withLock { $0 } }

  func write(_ entry: String) { state.withLock { $0.append(entry) } }
}
