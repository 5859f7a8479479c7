internal import CLinuxHeaps
internal import SystemPackage

/// What a device, or who waits for one, does with a buffer.
public enum BufferUse: Sendable {
  case reading
  case writing

  fileprivate var flags: UInt32 {
    switch self {
    case .reading: UInt32(DMA_BUF_SYNC_READ)
    case .writing: UInt32(DMA_BUF_SYNC_WRITE)
    }
  }
}

extension VMO {
  /// What has to be waited for before the buffer is used so: who reads waits for writers, who writes
  /// for writers and readers (`DMA_BUF_IOCTL_EXPORT_SYNC_FILE`, Linux 6.0).
  ///
  /// It covers what is under way now; a fence that comes later is not in it. Throws
  /// ``HeapError/Code/notSupported`` for memory that is no dma-buf.
  public borrowing func fence(before use: BufferUse) throws(HeapError) -> Fence {
    let operation = "export the fences of a \(kind.rawValue)"
    try checkFences(operation)
    let number = fd.rawValue
    do throws(Errno) {
      return Fence(
        made: OwnedFD(adopting: try call { CLinuxHeaps_export_fence(number, use.flags) }))
    } catch {
      throw Self.fenceError(error, operation)
    }
  }

  /// Makes whoever uses the buffer from now on wait for `fence`, as for a device that uses it so
  /// (`DMA_BUF_IOCTL_IMPORT_SYNC_FILE`, Linux 6.0). The buffer keeps a reference of its own.
  ///
  /// Throws ``HeapError/Code/notSupported`` for memory that is no dma-buf.
  public borrowing func add(_ fence: borrowing Fence, for use: BufferUse) throws(HeapError) {
    let operation = "import a fence into a \(kind.rawValue)"
    try checkFences(operation)
    let number = fd.rawValue
    do throws(Errno) {
      try fence.withDescriptor { fence throws(Errno) in
        _ = try call { CLinuxHeaps_import_fence(number, use.flags, fence) }
      }
    } catch {
      throw Self.fenceError(error, operation)
    }
  }

  private borrowing func checkFences(_ operation: String) throws(HeapError) {
    guard kind != .dmaBuf else { return }
    throw HeapError(
      .notSupported, operation, cause: "only a dma-buf has fences",
      fix: "use a heap of /dev/dma_heap, or udmabuf")
  }

  private static func fenceError(_ error: Errno, _ operation: String) -> HeapError {
    guard error == .inappropriateIOCTLForDevice else { return HeapError(error, operation) }
    return HeapError(
      .notSupported, operation, cause: "this kernel, \(kernelRelease), has no such request",
      errno: error, fix: "use Linux 6.0 or later")
  }
}
