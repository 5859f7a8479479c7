// A board's own tests: every heap that it has, and one of its own.
import HeapTestKit
import LinuxHeaps
import Testing

// begin
@Suite(.serialized) struct BoardTests {
  @Test(
    arguments: HeapUnderTest.all() + [HeapUnderTest(name: "board", kind: .memfd) { BoardHeap() }])
  func `keeps the contract`(_ heap: HeapUnderTest) async {
    for check in HeapCheck.all(for: heap) {
      if case .failed(let reason) = await check.run(on: heap) {
        Issue.record("\(check): \(reason)")
      }
    }
  }

  @Test func `survives random work`() async throws {
    let run = try await StressRun(heap: BoardHeap(), name: "board")
    let report = try await run.run(until: .steps(200))
    #expect(report.hasPassed, "seed \(report.seed): \(report.failure ?? "") \(report.leaks)")
  }
}
// end

/// A heap with a rule of the board's: no buffer is larger than 32 MiB.
struct BoardHeap: LocalHeap {
  let memory = MemfdHeap()
  let buffers = LiveBuffers()
  var properties: HeapProperties { memory.properties }

  /// A driver's dma-buf would become `BufferMemory(dmaBuf:for:heapName:grant:)`.
  func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    if request.size > 32 << 20 {
      throw HeapError(
        .noMemory, request.operation, cause: "the board's buffers have at most 32 MiB",
        fix: "ask for less")
    }
    return try memory.makeMemory(for: request)
  }
}
