public import SystemPackage

/// Allocates one buffer and tells what the kernel says of it.
public func firstBuffer(heap: String, size: UInt64) throws(Errno) -> String {
  let device = try HeapDevice(FilePath("/dev/dma_heap").appending(heap))
  let buffer = try device.allocate(size: size)
  let info = try FDInfoDirectory().read(buffer.rawValue)
  return info.map { "\($0)" } ?? "no dma-buf"
}
