internal import CLinuxHeaps
internal import Glibc
internal import SystemPackage

/// A parent that another process made, of what its descriptor tells.
struct InheritedParent {
  let parent: any Parent
  let byteCount: UInt64
  /// False for an opaque vmo: a name, and no pages.
  let hasMemory: Bool

  init(
    _ descriptor: consuming OwnedFD, named name: String, _ operation: String
  ) throws(HeapError) {
    let number = descriptor.rawValue
    do throws(Errno) {
      if let info = try FDInfoDirectory.shared.get().read(number) {
        byteCount = info.size
        hasMemory = true
        parent = try DMABufParent(descriptor, name: name)
        return
      }
      let seals = try? call { CLinuxHeaps_get_seals(number) }
      let size = UInt64(try descriptor.status().st_size)
      if let seals, let size = size.roundedUpToPages, size > 0 {
        byteCount = size
        hasMemory = seals & CLinuxHeaps_F_SEAL_WRITE == 0
        parent = try MemfdParent(inherited: descriptor, mode: hasMemory ? 0o600 : 0o200)
        return
      }
    } catch {
      throw HeapError(error, operation)
    }
    throw HeapError(.wrongType, operation, cause: "it is neither a dma-buf nor a memfd with a size")
  }
}
