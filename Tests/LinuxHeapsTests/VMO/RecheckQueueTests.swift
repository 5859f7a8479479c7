import Testing

@testable import LinuxHeaps

@Suite struct RecheckQueueTests {
  private final class Thing {}

  private static func at(_ nanoseconds: UInt64) -> MonotonicTime {
    MonotonicTime(nanoseconds: nanoseconds)
  }

  @Test func `each moment comes once, and not before its time`() {
    let (first, second) = (Thing(), Thing())
    var queue = RecheckQueue()
    #expect(queue.next == nil)
    queue.add(ObjectIdentifier(first), at: Self.at(20))
    queue.add(ObjectIdentifier(second), at: Self.at(10))
    #expect(queue.next == Self.at(10))
    #expect(queue.takeDue(at: Self.at(9)) == [])
    #expect(queue.takeDue(at: Self.at(10)) == [ObjectIdentifier(second)])
    #expect(queue.next == Self.at(20))
    #expect(queue.takeDue(at: Self.at(99)) == [ObjectIdentifier(first)])
    #expect(queue.next == nil)
  }

  @Test func `what is beyond the most stays due, in its order`() {
    let things = (0..<5).map { _ in Thing() }
    var queue = RecheckQueue()
    for thing in things { queue.add(ObjectIdentifier(thing), at: Self.at(10)) }
    #expect(queue.takeDue(at: Self.at(10), atMost: 3) == things[..<3].map(ObjectIdentifier.init))
    #expect(queue.next == Self.at(0))
    #expect(queue.takeDue(at: Self.at(10), atMost: 3) == things[3...].map(ObjectIdentifier.init))
    #expect(queue.next == nil)
  }

  @Test func `what is to be asked about now needs no clock`() {
    let thing = Thing()
    var queue = RecheckQueue()
    queue.addNow(ObjectIdentifier(thing))
    #expect(queue.next == Self.at(0))
    #expect(queue.takeDue(at: Self.at(0)) == [ObjectIdentifier(thing)])
    #expect(queue.takeDue(at: Self.at(0)) == [])
  }
}
