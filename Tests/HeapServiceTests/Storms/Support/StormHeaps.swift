import HeapTestKit

extension HeapUnderTest {
  /// Those for which a storm is made: memfd everywhere, and the kernel's where there are some.
  static var inStorms: [HeapUnderTest] { all().filter { $0.kind == .dmaHeap || $0.kind == .memfd } }
}
