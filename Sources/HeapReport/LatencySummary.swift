/// Percentiles and a histogram of one step's durations, in nanoseconds.
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

extension UInt64 {
  /// Nanoseconds for people: `850 ns`, `12.3 µs`, `4.56 ms`, `1.20 s`.
  package var asTime: String {
    let units: [(String, UInt64)] = [("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)]
    guard let (unit, size) = units.first(where: { self >= $0.1 }) else { return "\(self) ns" }
    // Three digits, cut off and not rounded.
    let digits = self >= 100 * size ? 0 : self >= 10 * size ? 1 : 2
    return fixed(self, per: size, digits: digits) + " " + unit
  }

  /// Nanoseconds as seconds with six digits, as XML schemas have their decimals.
  var asSeconds: String { fixed(self, per: 1_000_000_000, digits: 6) }
}

private func fixed(_ value: UInt64, per unit: UInt64, digits: Int) -> String {
  if digits == 0 { return "\(value / unit)" }
  let power = (0..<digits).reduce(UInt64(1)) { power, _ in power * 10 }
  let fraction = String(value % unit / (unit / power))
  return "\(value / unit)." + String(repeating: "0", count: digits - fraction.count) + fraction
}

extension Report.Latency {
  /// The time that `percent` of the allocations did not exceed (nearest rank); nil without any.
  func percentile(_ percent: Int) -> UInt64? {
    nanoseconds.isEmpty ? nil : nanoseconds.sorted().nearestRank(percent)
  }
}

extension [UInt64] {
  /// Of sorted durations, at least one: a duration that was measured, not one between two.
  func nearestRank(_ percent: Int) -> UInt64 {
    self[Swift.max(0, (count * percent + 99) / 100 - 1)]
  }
}
