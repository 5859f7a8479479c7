import HeapTestKit

extension HeapUnderTest {
  /// Those for which a storm is made: memfd everywhere, and the kernel's where there are some.
  static var inStorms: [HeapUnderTest] { all().filter { $0.kind == .dmaHeap || $0.kind == .memfd } }

  /// One of each kind that this machine has.
  static var kinds: [HeapUnderTest] {
    let all = all()
    return Kind.allCases.compactMap { kind in all.first { $0.kind == kind } }
  }

  /// Whether the kernel's count, asked again and again, tells of the last holder.
  var isCounted: Bool { kind == .dmaHeap || kind == .udmabuf }
}
