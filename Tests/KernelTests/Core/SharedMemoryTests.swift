import TestSupport
import Testing

@testable import LinuxHeaps

/// New memory that has another holder than its heap: in a process of its own, because the first buffer of a process is asked about.
@Suite struct SharedMemoryTests {
  @Test func `a buffer that somebody else holds is refused`() async {
    await #expect(processExitsWith: .success) {
      let heap = SharingHeap(counts: Array(repeating: 2, count: 100))
      let error = refusal { () throws(HeapError) in try heap.allocate(byteCount: 1) }
      precondition(error?.code == .notSupported)
      precondition(error?.cause.hasPrefix("another process holds the new buffer") == true)
      precondition(heap.liveBufferCount == 0)
    }
  }

  @Test func `one who looks holds it for a moment`() async {
    await #expect(processExitsWith: .success) {
      let heap = SharingHeap(counts: [3, 2, 1])
      let vmo = try heap.allocate(byteCount: 1)
      precondition(vmo.byteCount == pageSize)
    }
  }
}

/// Memfds, of which the kernel seems to tell counts.
private struct SharingHeap: LocalHeap {
  let buffers = LiveBuffers()
  let memfd = MemfdHeap()
  let counts: [Int]

  var properties: HeapProperties { memfd.properties }

  func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    try memfd.makeMemory(for: request).wrapping { [counts] in CountedParent($0, counts) }
  }
}

private final class CountedParent: WrappingParent {
  let inner: any Parent
  private let counts: Guarded<ArraySlice<Int>>

  init(_ inner: any Parent, _ counts: [Int]) {
    self.inner = inner
    self.counts = Guarded(counts[...])
  }

  func referenceCount() -> Int? { counts.withLock { $0.removeFirst() } }
}
