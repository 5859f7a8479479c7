internal import CLinuxHeaps
internal import Glibc
internal import SystemPackage

/// A parent that another process made, of what its descriptor tells.
struct InheritedParent {
  let parent: any Parent
  let byteCount: UInt64

  init(
    _ descriptor: consuming OwnedFD, named name: String, _ operation: String
  ) throws(HeapError) {
    let number = descriptor.rawValue
    do throws(Errno) {
      if let info = try FDInfoDirectory.shared.get().read(number) {
        byteCount = info.size
        parent = try DMABufParent(descriptor, name: name)
        return
      }
      let seals = try? call { CLinuxHeaps_get_seals(number) }
      let size = UInt64(try descriptor.status().st_size)
      if let seals, let size = size.roundedUpToPages, size > 0 {
        byteCount = size
        let isOpaque = seals & CLinuxHeaps_F_SEAL_WRITE != 0
        parent = try MemfdParent(inherited: descriptor, mode: isOpaque ? 0o200 : 0o600)
        return
      }
    } catch {
      throw HeapError(error, operation)
    }
    throw HeapError(.wrongType, operation, cause: "it is neither a dma-buf nor a memfd with a size")
  }
}
