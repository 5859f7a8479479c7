import LinuxHeaps
import Testing

@testable import HeapServer

@Suite struct DeadlinesTests {
  @Test func `what was cancelled wakes nobody`() throws {
    let deadlines = Deadlines()
    deadlines.set(.stop, after: 60_000)
    let later = try #require(deadlines.next)
    deadlines.set(.unread, after: 1)
    #expect(try #require(deadlines.next) < later)
    deadlines.cancel(.unread)
    #expect(deadlines.next == later)
    #expect(deadlines.takeDue() == [])
    deadlines.set(.stop, after: 120_000)
    #expect(try #require(deadlines.next) > later, "put off")
    deadlines.cancel(.stop)
    #expect(deadlines.next == nil)
  }

  @Test func `among many it is never later than the first`() throws {
    let deadlines = Deadlines()
    for id in 0..<1000 { deadlines.set(.stall(connection: UInt64(id)), after: UInt64(id)) }
    let first = try #require(deadlines.next)
    deadlines.cancel(.stall(connection: 0))
    #expect(try #require(deadlines.next) <= first)
    var due: Set<Deadline> = []
    while due.count < 999 {
      if let next = deadlines.next, next <= .now { due.formUnion(deadlines.takeDue()) }
    }
    #expect(!due.contains(.stall(connection: 0)) && deadlines.next == nil)
  }
}
