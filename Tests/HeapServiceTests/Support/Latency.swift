/// How long requests take, for comparisons within one run.
enum Latency {
  /// Of so many requests the one in the middle: a few that the machine delayed do not count.
  static func median(of rounds: Int = 201, _ request: () throws -> Void) rethrows -> Duration {
    let clock = ContinuousClock()
    return try (0..<rounds).map { _ in try clock.measure(request) }.sorted()[rounds / 2]
  }
}
