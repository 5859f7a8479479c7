import HeapTestKit
import LinuxHeaps
import TestSupport
import Testing

/// What the log tells of buffers, by their ids.
@Suite struct LogTests {
  @Test func `a buffer's life is told where one asks for it`() throws {
    let daemon = try Daemon(arguments: ["--log-level", "debug"])
    let client = try WireClient.heap(daemon)
    var vmo: SharedFD? = try client.allocate(3, of: 17)
    let words = ["buffer=lh:h.3", "collection=17", "index=3", "heap=memfd"]
    try daemon.expectLog(["buffer allocated"] + words)
    try client.delete(3, of: 17, &vmo)
    try daemon.expectLog(["buffer reclaimed"] + words)
  }

  @Test func `one line says which heap is served, and why`() throws {
    let daemon = try Daemon(heap: ["auto"])
    let served =
      HeapUnderTest.all().contains { $0.kind == .dmaHeap }
      ? "serving the kernel's dma-buf heaps, because this machine has them: "
      : "serving the embedded memfd heap, because this machine has no /dev/dma_heap"
    try daemon.expectLog(served)
    let lines = daemon.log.split(separator: "\n").filter { $0.contains("serving") }
    #expect(lines.count == 1 && lines.allSatisfy { $0.contains(served) }, "\(daemon.log)")
  }
}
