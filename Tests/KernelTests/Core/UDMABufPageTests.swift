import Glibc
import TestSupport
import Testing

@testable import HeapTestKit
@testable import LinuxHeaps

/// A udmabuf's pages come from a memfd, and have to be as zero as those of other heaps.
@Suite(.serialized, .enabled(if: UDMABufHeap.isUsable, "needs udmabuf"))
struct UDMABufPageTests {
  @Test(arguments: [1, 16, 2049])
  func `buffers are zero, whatever was in the machine's memory`(_ pages: UInt64) throws {
    let heap = UDMABufHeap()
    for _ in 0..<4 {
      try Self.dirty(16 * pages * pageSize)
      var vmos: [HeldVMO] = []
      for _ in 0..<4 {
        let vmo = try heap.allocate(.fresh(), size: pages * pageSize)
        #expect(try vmo.isZero)
        vmos.append(HeldVMO(vmo))
      }
    }
  }

  /// Memory that a process has left, which the kernel gives to the next who asks.
  private static func dirty(_ size: UInt64) throws {
    let bytes = unsafe mmap(
      nil, Int(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    unsafe memset(bytes, 0xa5, Int(size))
    unsafe munmap(bytes, Int(size))
  }
}
