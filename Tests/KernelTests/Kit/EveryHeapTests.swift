import Glibc
import HeapTestKit
import LinuxHeaps
import Testing

/// One check on one heap.
struct Case: CustomTestStringConvertible, Sendable {
  let heap: HeapUnderTest
  let check: HeapCheck

  var testDescription: String { "\(heap) \(check)" }

  /// The heaps that this machine must have, said by whoever booted it; nil where nobody knows.
  static let wanted = unsafe getenv("LINUXHEAPS_HEAPS").map { unsafe String(cString: $0) }

  static let all = HeapUnderTest.all().flatMap { heap in
    HeapCheck.all(for: heap).map { Case(heap: heap, check: $0) }
  }
}

// One after the other: the kernel's counts are those of the whole process.
@Suite(.serialized) struct EveryHeapTests {
  @Test(arguments: Case.all)
  func `passes`(_ test: Case) async throws {
    switch await test.check.run(on: test.heap) {
    case .passed: break
    case .failed(let reason): Issue.record("\(reason)")
    case .skipped(let reason):
      #if compiler(>=6.3)
        try Test.cancel("\(reason)")
      #else
        // Swift 6.2 has no test that skips itself: it passes, and says why.
        print("\(test) skipped: \(reason)")
      #endif
    }
  }

  // So that nothing passes by being absent.
  @Test(.enabled(if: Case.wanted != nil, "only where it is known what the machine must have"))
  func `every heap that the machine must have is there`() throws {
    let wanted = try #require(Case.wanted).split(separator: " ").map(String.init)
    #expect(Set(wanted).subtracting(HeapUnderTest.all().map(\.name)) == [])
  }

  @Test func `names of checks are different, and say one sentence each`() {
    let names = HeapCheck.all.map(\.name)
    #expect(Set(names).count == names.count)
    for check in HeapCheck.all { #expect(!check.claim.isEmpty && !check.claim.contains("\n")) }
  }
}
