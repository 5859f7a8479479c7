/// Durations of one step, in nanoseconds, and what is told of them.
struct LatencySummary: Encodable {
  let samples: Int
  let p50: UInt64
  let p95: UInt64
  let p99: UInt64
  let max: UInt64
  /// How many took from 2^n up to 2^(n+1) nanoseconds, from the first n that any took to the last.
  let histogram: [Bucket]

  struct Bucket: Encodable {
    let fromNanoseconds: UInt64
    let samples: Int
  }

  /// - Parameter durations: At least one.
  init(_ durations: [UInt64]) {
    let sorted = durations.sorted()
    // The nearest rank: a duration that was measured, not one between two.
    func percentile(_ percent: Int) -> UInt64 {
      sorted[Swift.max(0, (sorted.count * percent + 99) / 100 - 1)]
    }
    samples = sorted.count
    p50 = percentile(50)
    p95 = percentile(95)
    p99 = percentile(99)
    max = percentile(100)
    let powers = sorted.map { 63 - Swift.max($0, 1).leadingZeroBitCount }
    histogram = (powers[0]...powers[powers.count - 1]).map { power in
      Bucket(fromNanoseconds: 1 << UInt64(power), samples: powers.count { $0 == power })
    }
  }

  /// A bar for each bucket: `▁` for none, up to `█` for the fullest.
  var bars: String {
    let samples = histogram.map { UInt64($0.samples) }
    return Bars.text(samples, of: samples.max() ?? 1)
  }
}

extension UInt64 {
  /// For people: `12.3 µs`.
  var asDuration: String {
    let units: [(UInt64, String)] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")]
    for (unit, name) in units where self >= unit {
      return "\(self / unit).\(self % unit * 10 / unit) \(name)"
    }
    return "\(self) ns"
  }
}
