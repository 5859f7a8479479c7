package import HeapTestKit
import LinuxHeaps

extension HeapUnderTest {
  /// Those for which a storm is made: memfd everywhere, and the kernel's where there are some. One of
  /// each kind of memory, which may have several names.
  package static var inStorms: [HeapUnderTest] {
    var seen: Set<SingleBufferSettings> = []
    return all().filter { heap in
      heap.kind == .dmaHeap ? seen.insert(heap.settings).inserted : heap.kind == .memfd
    }
  }

  /// One of each kind that this machine has.
  package static var kinds: [HeapUnderTest] {
    let all = all()
    return Kind.allCases.compactMap { kind in all.first { $0.kind == kind } }
  }

  /// Whether the kernel's count, asked again and again, tells of the last holder.
  package var isCounted: Bool { [.dmaHeap, .dmaBuf, .udmabuf].contains(kind) }
}
