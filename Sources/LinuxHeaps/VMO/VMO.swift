internal import CLinuxHeaps
internal import Glibc
internal import SystemPackage

/// A handle to memory: an owned descriptor and the range of its buffer that it stands for.
///
/// Handles are made from each other by ``duplicate()`` and ``slice(offset:byteCount:)``, and closed
/// when they go out of scope. A buffer lives as long as any handle to it, in any process.
///
/// The range of a dma-buf is advisory. All its descriptors share one open file, and whoever holds one
/// can map the whole buffer: give a slice only to those who may see the rest. A slice that cannot be
/// widened is what ``UDMABufHeap/isolatedSlice(of:offset:byteCount:)`` makes.
public struct VMO: ~Copyable, Sendable {
  /// What the memory is in the kernel.
  public enum Kind: String, Hashable, Sendable {
    /// A dma-buf: devices can import it.
    case dmaBuf = "dma-buf"
    /// A memfd: processes can share it, devices cannot.
    case memfd
    /// Size and identity alone; there are no pages, and no access.
    case opaque
  }

  let fd: ChildFD
  public let kind: Kind
  /// The same for all handles to one buffer.
  public let identity: VMOIdentity
  /// Bytes from the buffer's start; whole pages.
  public let offset: UInt64
  /// Bytes; whole pages, at least one.
  public let byteCount: UInt64
  /// The name of the heap that served the allocation; nil for a handle that came from elsewhere.
  public let heapName: String?

  init(
    _ fd: consuming ChildFD, kind: Kind, identity: VMOIdentity, offset: UInt64, byteCount: UInt64,
    heapName: String?
  ) {
    self.fd = fd
    self.kind = kind
    self.identity = identity
    self.offset = offset
    self.byteCount = byteCount
    self.heapName = heapName
  }

  /// A second handle to the same range.
  ///
  /// Throws ``HeapError/Code/noResources`` when the process may open no more files.
  public func duplicate() throws(HeapError) -> VMO {
    try duplicate(offset: offset, byteCount: byteCount, "duplicate a vmo")
  }

  /// A handle to a part of this one's range.
  ///
  /// - Parameters:
  ///   - offset: Bytes from this vmo's start, a multiple of ``pageSize``.
  ///   - byteCount: Bytes, a multiple of ``pageSize`` and not 0.
  /// Throws ``HeapError/Code/invalidArgs`` for an unaligned or empty range and
  /// ``HeapError/Code/outOfRange`` for one that leaves this vmo's.
  public func slice(offset: UInt64, byteCount: UInt64) throws(HeapError) -> VMO {
    try checkSlice(offset: offset, byteCount: byteCount)
    return try duplicate(
      offset: self.offset + offset, byteCount: byteCount, "slice a vmo")
  }

  func checkSlice(offset: UInt64, byteCount: UInt64) throws(HeapError) {
    let operation = "slice \(byteCount) bytes at \(offset) of a vmo of \(self.byteCount) bytes"
    guard byteCount > 0 else {
      throw HeapError(.invalidArgs, operation, cause: "a slice is not empty")
    }
    guard offset.isPageAligned, byteCount.isPageAligned else {
      throw HeapError(
        .invalidArgs, operation, cause: "offset and size are not both multiples of a page",
        fix: "round to multiples of \(pageSize) bytes")
    }
    let (end, overflow) = offset.addingReportingOverflow(byteCount)
    guard !overflow, end <= self.byteCount else {
      throw HeapError(.outOfRange, operation, cause: "the slice leaves the vmo")
    }
  }

  private func duplicate(
    offset: UInt64, byteCount: UInt64, _ operation: String
  ) throws(HeapError) -> VMO {
    let copy: ChildFD
    do throws(Errno) { copy = try fd.duplicate() } catch { throw HeapError(error, operation) }
    return VMO(
      copy, kind: kind, identity: identity, offset: offset, byteCount: byteCount,
      heapName: heapName)
  }
}
