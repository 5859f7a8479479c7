import HeapTestKit
import LinuxHeaps

extension HeapUnderTest {
  /// Those for which a storm is made: the kernel's, each memory once, or memfd where it has none.
  static var inStorms: [HeapUnderTest] {
    let names = HeapCatalog().heaps().filter { $0.duplicateOf == nil }.map(\.name)
    let kernels = all().filter { $0.kind == .dmaHeap && names.contains($0.name) }
    return kernels.isEmpty ? [.memfd] : kernels
  }

  /// One of each kind that this machine has.
  static var kinds: [HeapUnderTest] {
    let all = all()
    return Kind.allCases.compactMap { kind in all.first { $0.kind == kind } }
  }

  /// Whether the kernel's count, asked again and again, tells of the last holder.
  var isCounted: Bool { kind == .dmaHeap || kind == .udmabuf }
}
