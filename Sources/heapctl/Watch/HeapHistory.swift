/// How many bytes each heap had, sample by sample.
struct HeapHistory {
  /// More than the widest screen shows.
  static let mostSamples = 400

  private(set) var samples: [String: [UInt64]] = [:]

  /// One more sample of each heap; one that is gone has 0 bytes.
  mutating func note(_ heaps: [String: UInt64]) {
    for heap in Set(samples.keys).union(heaps.keys) {
      samples[heap] = samples[heap, default: []].suffix(Self.mostSamples - 1) + [heaps[heap] ?? 0]
    }
  }

  /// The last of them, at most so many.
  func last(_ count: Int, of heap: String) -> ArraySlice<UInt64> {
    (samples[heap] ?? []).suffix(max(0, count))
  }

  func most(of heap: String) -> UInt64 { samples[heap]?.max() ?? 0 }
}
