internal import CLinuxHeaps
internal import Glibc
internal import SystemPackage

// Descriptors on their way to and from code that knows no vmos.

extension VMO {
  /// Lends the descriptor to a call, e.g. an import into a GPU. It must not be closed, nor kept.
  public borrowing func withDescriptor<Result: ~Copyable, Failure: Error>(
    _ body: (CInt) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(fd.rawValue)
  }

  /// Gives up the descriptor. The buffer lives until it and all others are closed; its range is for
  /// the caller to pass on.
  public consuming func releaseDescriptor() -> OwnedFD {
    fd.release()
  }

  /// Takes over a descriptor from elsewhere: checked to be a dma-buf or a memfd.
  ///
  /// The vmo's range is the whole buffer. The descriptor is closed when this throws:
  /// ``HeapError/Code/badHandle`` for one that is not open, ``HeapError/Code/wrongType`` for one of
  /// something else, ``HeapError/Code/invalidArgs`` for a memfd of no size.
  public init(adopting descriptor: consuming OwnedFD) throws(HeapError) {
    let operation = "adopt descriptor \(descriptor.rawValue)"
    let status: stat
    let found: (kind: Kind, size: UInt64)?
    do throws(Errno) {
      status = try descriptor.status()
      found = try VMO.examine(descriptor, status)
    } catch {
      throw HeapError(error, operation)
    }
    guard let (kind, size) = found else {
      let file = try? SmallFile.link("/proc/self/fd/\(descriptor.rawValue)")
      throw HeapError(
        .wrongType, operation,
        cause: "\(file ?? "a file of unknown name") is neither a dma-buf nor a memfd")
    }
    guard let size = size.roundedUpToPages, size > 0 else {
      throw HeapError(.invalidArgs, operation, cause: "the memfd has no size")
    }
    let identity = VMOIdentity(status)
    self.init(
      ChildFD(descriptor, of: LocalBuffers.shared[identity]), kind: kind, identity: identity,
      offset: 0, byteCount: size, heapName: nil)
  }

  private static func examine(
    _ descriptor: borrowing OwnedFD, _ status: stat
  ) throws(Errno) -> (kind: Kind, size: UInt64)? {
    let number = descriptor.rawValue
    if let info = try FDInfoDirectory.shared.get().read(number) { return (.dmaBuf, info.size) }
    // Only files that live in memory have seals: memfds, and those of tmpfs.
    guard let seals = try? call({ CLinuxHeaps_get_seals(number) }) else { return nil }
    let isOpaque = seals & CLinuxHeaps_F_SEAL_WRITE != 0
    return (isOpaque ? .opaque : .memfd, UInt64(status.st_size))
  }
}
