/// Random numbers that follow from a seed: SplitMix64 (Steele, Lea, Flood: Fast Splittable
/// Pseudorandom Number Generators, 2014).
package struct SeededGenerator: RandomNumberGenerator {
  private(set) var seed: UInt64

  package init(_ seed: UInt64) { self.seed = seed }

  /// A generator of its own for each purpose, so that one more number drawn here changes nothing there.
  init(_ seed: UInt64, for names: String...) {
    self.seed = seed
    for byte in names.joined(separator: "\0").utf8 {
      // FNV-1a, mixed once more by the generator itself. `Hasher` would differ from run to run.
      self.seed = (self.seed ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
    }
    self.seed = next()
  }

  package mutating func next() -> UInt64 {
    seed &+= 0x9e37_79b9_7f4a_7c15
    var word = seed
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word >> 31)
  }
}
