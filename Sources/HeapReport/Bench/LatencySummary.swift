/// Durations of one step, in nanoseconds, and what is told of them.
package struct LatencySummary: Encodable, Sendable {
  package let samples: Int
  package let p50: UInt64
  package let p95: UInt64
  package let p99: UInt64
  package let max: UInt64
  /// How many took from 2^n up to 2^(n+1) nanoseconds, from the first n that any took to the last.
  package let histogram: [Bucket]

  package struct Bucket: Encodable, Sendable {
    package let fromNanoseconds: UInt64
    package let samples: Int
  }

  /// - Parameter durations: At least one.
  package init(_ durations: [UInt64]) {
    let sorted = durations.sorted()
    samples = sorted.count
    p50 = sorted.nearestRank(50)
    p95 = sorted.nearestRank(95)
    p99 = sorted.nearestRank(99)
    max = sorted.nearestRank(100)
    let powers = sorted.map { 63 - Swift.max($0, 1).leadingZeroBitCount }
    histogram = (powers[0]...powers[powers.count - 1]).map { power in
      Bucket(fromNanoseconds: 1 << UInt64(power), samples: powers.count { $0 == power })
    }
  }
}
