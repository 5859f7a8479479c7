/// The bounds of a histogram's buckets.
struct BucketScale: Sendable {
  /// One more than bounds: the last bucket has none.
  static let bucketCount = 20

  /// Ascending, in the unit that is recorded. A value that equals a bound is within it.
  let bounds: [Double]
  /// How many of the recorded unit make one of the text's.
  let divisor: Double

  /// Recorded in nanoseconds, written in seconds. Nanoseconds are whole numbers, so sums have no
  /// rounding errors below 2⁵³ of them, which is 104 days.
  static let durations = BucketScale(
    bounds: [
      10e3, 25e3, 50e3, 100e3, 250e3, 500e3,
      1e6, 2.5e6, 5e6, 10e6, 25e6, 50e6, 100e6, 250e6, 500e6,
      1e9, 2.5e9, 5e9, 10e9,
    ], divisor: 1e9)

  /// Powers of four from 1 to 4¹⁸, which is 64 GiB where bytes are recorded; 4096 is one of them.
  static let amounts = BucketScale(
    bounds: (0..<bucketCount - 1).map { Double(1 << (2 * $0)) }, divisor: 1)

  func bucket(of value: Double) -> Int {
    bounds.firstIndex { value <= $0 } ?? bounds.count
  }
}
