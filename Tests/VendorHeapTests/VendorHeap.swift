import Glibc
import LinuxHeaps

/// A heap as a vendor writes it, outside of the package: memory of a driver that is no dma-buf heap of the kernel's, or
/// one that it treats in its own way. Here the driver is the node of a heap, where there is one, and memfd else.
struct VendorHeap: LocalHeap {
  let properties = HeapProperties(
    coherencyDomainSupport: CoherencyDomainSupport(
      cpuSupported: true, ramSupported: true, inaccessibleSupported: false))
  let buffers: LiveBuffers
  /// Nil for memfd.
  let node: String?

  init(node: String?) {
    self.node = node
    buffers = LiveBuffers()
  }

  /// Which Glibc's module does not show.
  private static let memfdCreate = unsafeBitCast(
    dlsym(nil, "memfd_create"), to: (@convention(c) (UnsafePointer<CChar>, UInt32) -> CInt).self)

  func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    let grant = try Admission.standard.admit(request.size, for: request.operation)
    guard let node else {
      let memfd = OwnedFD(adopting: Self.memfdCreate(request.name, 3 /* CLOEXEC, ALLOW_SEALING */))
      ftruncate(memfd.rawValue, off_t(request.size))
      _ = fcntl(memfd.rawValue, 1033 /* F_ADD_SEALS */, 6 /* SHRINK, GROW */)
      return try BufferMemory(memfd: memfd, for: request, heapName: "vendor", grant: grant)
    }
    let device = open(node, O_RDONLY | O_CLOEXEC)
    defer { close(device) }
    // `struct dma_heap_allocation_data` (linux/dma-heap.h): len, fd and fd_flags, heap_flags.
    var data: [UInt64] = [request.size, UInt64(UInt32(O_RDWR | O_CLOEXEC)) << 32, 0]
    guard device >= 0, ioctl(device, 0xc018_4800, &data) == 0 else {
      throw HeapError(.noMemory, request.operation, at: node, cause: "errno \(errno)")
    }
    let buffer = OwnedFD(adopting: CInt(truncatingIfNeeded: data[1] & 0xffff_ffff))
    return try BufferMemory(dmaBuf: buffer, for: request, heapName: "vendor", grant: grant)
  }
}
