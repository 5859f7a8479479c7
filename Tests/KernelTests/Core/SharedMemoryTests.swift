import SystemPackage
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

private final class CountedParent: Parent {
  private let parent: any Parent
  private let counts: Guarded<ArraySlice<Int>>

  init(_ parent: any Parent, _ counts: [Int]) {
    self.parent = parent
    self.counts = Guarded(counts[...])
  }

  var identity: VMOIdentity { parent.identity }
  var kind: VMO.Kind { parent.kind }
  var descriptor: CInt { parent.descriptor }
  var watchedDescriptor: CInt? { parent.watchedDescriptor }
  func eventsAreWatched() throws(Errno) { try parent.eventsAreWatched() }
  func children(_ counts: FDInfoFiles, besides copies: Int) throws(Errno) -> Children {
    try parent.children(counts, besides: copies)
  }
  func referenceCount() -> Int? { counts.withLock { $0.removeFirst() } }
  func openChild() throws(Errno) -> OwnedFD { try parent.openChild() }
}
