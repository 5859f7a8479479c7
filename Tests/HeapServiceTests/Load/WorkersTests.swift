import Testing

@testable import HeapServer

@Suite struct WorkersTests {
  @Test func `work that takes long keeps no other lane waiting`() throws {
    let workers = try Workers()
    // A thread that waits for work, from now on.
    let first = Gate()
    workers.run(in: 0) { first.open() }
    first.wait()
    for lane in stride(from: 1, through: 199, by: 2) as StrideThrough<UInt64> {
      let slow = Gate()
      let quick = Gate()
      let end = Gate()
      workers.run(in: lane) {
        slow.wait()
        end.open()
      }
      workers.run(in: lane + 1) { quick.open() }
      quick.wait()
      slow.open()
      end.wait()
    }
  }
}
