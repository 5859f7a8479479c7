import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct ReclaimerStormTests {
  @Test func `a last close that meets the reclaimer at work is not forgotten`() async throws {
    let heap = MemfdHeap(reclaimer: Reclaimer())
    await withTaskGroup { group in
      for _ in 0..<16 {
        group.addTask {
          for _ in 0..<StormSize.rounds { _ = try? heap.allocate(.fresh()) }
        }
      }
    }
    #expect(try await eventuallyHolds { heap.buffers.count == 0 })
  }
}
