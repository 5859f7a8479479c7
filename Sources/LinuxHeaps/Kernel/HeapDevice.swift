internal import CLinuxHeaps
internal import Glibc
package import SystemPackage

/// A heap's character device, `/dev/dma_heap/NAME` (linux/dma-heap.h).
package struct HeapDevice: ~Copyable {
  private let fd: OwnedFD

  /// Opens for reading, which is all that the kernel asks of an allocator.
  package init(_ path: String) throws(Errno) {
    fd = try .open(path, O_RDONLY)
  }

  /// A new dma-buf of `size` zeroed bytes; the kernel rounds up to whole pages.
  ///
  /// The request is made as it is. The system heap refuses none for being too large: it takes pages
  /// until the out-of-memory killer runs, so ``Admission`` comes first.
  package func allocate(size: UInt64) throws(Errno) -> OwnedFD {
    var data = dma_heap_allocation_data(
      len: size, fd: 0, fd_flags: UInt32(O_RDWR | O_CLOEXEC), heap_flags: 0)
    let heap = fd.rawValue
    _ = try call { unsafe CLinuxHeaps_dma_heap_alloc(heap, &data) }
    return OwnedFD(adopting: CInt(bitPattern: data.fd))
  }
}
