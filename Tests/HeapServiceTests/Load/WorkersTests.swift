import LinuxHeaps
import TestSupport
import Testing

@testable import HeapServer

@Suite struct WorkersTests {
  @Test func `work that takes long keeps no other lane waiting`() throws {
    let workers = try Workers()
    // A thread that waits for work, from now on.
    let first = Gate()
    workers.run(in: Self.lane(0)) { first.open() }
    first.wait()
    for lane in stride(from: 1, through: 199, by: 2) as StrideThrough<UInt64> {
      let slow = Gate()
      let quick = Gate()
      let end = Gate()
      workers.run(in: Self.lane(lane)) {
        slow.wait()
        end.open()
      }
      workers.run(in: Self.lane(lane + 1)) { quick.open() }
      quick.wait()
      slow.open()
      end.wait()
    }
  }

  private static func lane(_ id: UInt64) -> Workers.Lane { .init(id, of: .server) }

  @Test func `an owner has half of the threads, and all that it asks for is done`() throws {
    let workers = try Workers(most: 4)
    let gate = Gate()
    let done = Guarded(0)
    for id in 0..<20 as Range<UInt64> {
      workers.run(in: .init(id, of: .user(1))) {
        gate.wait()
        done.withLock { $0 += 1 }
      }
    }
    let other = Guarded(false)
    workers.run(in: .init(0, of: .user(2))) { other.withLock { $0 = true } }
    #expect(eventually { other.withLock { $0 } })
    #expect(done.withLock { $0 } == 0)
    workers.finish()
    gate.open()
    #expect(eventually { done.withLock { $0 } == 20 })
  }
}
