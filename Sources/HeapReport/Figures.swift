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
