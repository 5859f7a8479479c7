import LinuxHeaps
import Testing

@testable import HeapTestKit

@Suite struct SeededGeneratorTests {
  /// The first numbers of the reference implementation, which `java.util.SplittableRandom` and many
  /// others share.
  @Test func `the numbers are SplitMix64's`() {
    var generator = SeededGenerator(1_234_567)
    #expect(
      (0..<3).map { _ in generator.next() } == [
        6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
      ])
  }

  @Test func `each purpose has numbers of its own`() {
    var first = SeededGenerator(1, for: "memfd", "zeroed")
    var same = SeededGenerator(1, for: "memfd", "zeroed")
    var others = [
      SeededGenerator(2, for: "memfd", "zeroed"), SeededGenerator(1, for: "memfd", "fence"),
      SeededGenerator(1, for: "opaque", "zeroed"), SeededGenerator(1, for: "memfdzeroed"),
    ]
    let number = first.next()
    #expect(number == same.next())
    for index in others.indices { #expect(others[index].next() != number) }
  }

  @Test func `an order is a permutation that only the seed and the heap decide`() {
    let names = HeapCheck.all(for: .memfd, orderedBy: 5).map(\.name)
    #expect(names == HeapCheck.all(for: .memfd, orderedBy: 5).map(\.name))
    #expect(names != HeapCheck.all(for: .memfd, orderedBy: 6).map(\.name))
    #expect(Set(names) == Set(HeapCheck.all(for: .memfd).map(\.name)))
  }
}
