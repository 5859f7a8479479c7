import Testing

@testable import LinuxHeaps

@Suite struct RecheckTests {
  @Test(arguments: [
    // (first, longest, first that counts, longest that counts), ms
    (1, 250, 1, 250), (0, 250, 1, 250), (-5, 250, 1, 250), (10, 5, 10, 10), (0, 0, 1, 1),
    (5, -1, 5, 5),
  ])
  func `the first wait is at least 1 ms, the longest at least the first`(
    _ first: Int, _ longest: Int, _ firstKept: Int, _ longestKept: Int
  ) {
    let recheck = Reclaimer.Recheck(
      first: .milliseconds(first), longest: .milliseconds(longest))
    #expect(recheck.first == .milliseconds(firstKept))
    #expect(recheck.longest == .milliseconds(longestKept))
  }
}
