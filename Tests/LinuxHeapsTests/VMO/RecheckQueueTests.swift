import Testing

@testable import LinuxHeaps

@Suite struct RecheckQueueTests {
  private static func at(_ nanoseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: nanoseconds)
  }

  @Test func `each moment comes once, and not before its time`() {
    let (first, second) = (7, 8)
    var queue = RecheckQueue()
    #expect(queue.next == nil)
    queue.add(first, at: Self.at(20))
    queue.add(second, at: Self.at(10))
    #expect(queue.next == Self.at(10))
    #expect(queue.takeDue(at: Self.at(9)) == [])
    #expect(queue.takeDue(at: Self.at(10)) == [second])
    #expect(queue.next == Self.at(20))
    #expect(queue.takeDue(at: Self.at(99)) == [first])
    #expect(queue.next == nil)
  }

  @Test func `what is beyond the most stays due, in its order`() {
    let things = Array(0..<5)
    var queue = RecheckQueue()
    for thing in things { queue.add(thing, at: Self.at(10)) }
    #expect(queue.takeDue(at: Self.at(10), atMost: 3) == Array(things[..<3]))
    #expect(queue.next == Self.at(0))
    #expect(queue.takeDue(at: Self.at(10), atMost: 3) == Array(things[3...]))
    #expect(queue.next == nil)
  }

  @Test func `what is to be asked about now needs no clock`() {
    let thing = 7
    var queue = RecheckQueue()
    queue.addNow(thing)
    #expect(queue.next == Self.at(0))
    #expect(queue.takeDue(at: Self.at(0)) == [thing])
    #expect(queue.takeDue(at: Self.at(0)) == [])
  }
}
