package import CLibrary
internal import CLinuxHeaps

package import struct SystemPackage.Errno

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
  /// The name of the heap that served the allocation; nil for a handle that came from elsewhere, of which ``exporterName``
  /// tells. Of a service's vmo it is the exporter's, which for the kernel's heaps is the same, or `memfd`; `hugetlb` where a udmabuf
  /// came for a request of contiguous memory.
  public let heapName: String?

  /// A second handle to the same range.
  ///
  /// - Throws: ``HeapError/Code/noResources`` when the process may open no more files.
  public func duplicate() throws(HeapError) -> VMO {
    try duplicate(offset: offset, byteCount: byteCount, "duplicate a vmo")
  }

  /// A handle to a part of this one's range.
  ///
  /// - Parameters:
  ///   - offset: Bytes from this vmo's start, a multiple of ``pageSize``.
  ///   - byteCount: Bytes, a multiple of ``pageSize`` and not 0.
  /// - Throws: ``HeapError/Code/invalidArgs`` for an unaligned or empty range and
  ///   ``HeapError/Code/outOfRange`` for one that leaves this vmo's.
  public func slice(offset: UInt64, byteCount: UInt64) throws(HeapError) -> VMO {
    try checkSlice(offset: offset, byteCount: byteCount)
    return try duplicate(
      offset: self.offset + offset, byteCount: byteCount, "slice a vmo")
  }

  func checkSlice(offset: UInt64, byteCount: UInt64) throws(HeapError) {
    let whole = self.byteCount
    func refusal(_ code: HeapError.Code, _ cause: String, fix: String? = nil) -> HeapError {
      HeapError(
        code, "slice \(byteCount) bytes at \(offset) of a vmo of \(whole) bytes", cause: cause,
        fix: fix)
    }
    guard byteCount > 0 else { throw refusal(.invalidArgs, "a slice cannot be empty") }
    guard offset.isPageAligned, byteCount.isPageAligned else {
      throw refusal(
        .invalidArgs, "offset and size are not both multiples of a page",
        fix: "round to multiples of \(pageSize) bytes")
    }
    let (end, overflow) = offset.addingReportingOverflow(byteCount)
    guard !overflow, end <= whole else {
      throw refusal(
        .outOfRange, "the slice leaves the vmo", fix: "end it at \(whole) bytes or before")
    }
  }

  private func duplicate(
    offset: UInt64, byteCount: UInt64, _ operation: String
  ) throws(HeapError) -> VMO {
    VMO(
      fd: try attempt(operation) { () throws(Errno) in try fd.duplicate() }, kind: kind,
      identity: identity, offset: offset, byteCount: byteCount, heapName: heapName)
  }
}

/// What all descriptors of one buffer have in common, in every process: its device and inode.
///
/// The kernel gives the number to another buffer once this one is gone.
public struct VMOIdentity: Hashable, Sendable {
  /// `st_dev` (stat(2)): the kernel's mount of dma-bufs, or of memfds.
  public let device: UInt64
  /// `st_ino`.
  public let inode: UInt64

  package init(device: UInt64, inode: UInt64) {
    self.device = device
    self.inode = inode
  }

  package init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
  }

  /// Of a descriptor from a stranger: does not wait for the file's own file system.
  package init(of descriptor: BorrowedFD) throws(Errno) {
    let number = descriptor.rawValue
    var (device, inode): (UInt64, UInt64) = (0, 0)
    _ = try call { unsafe CLinuxHeaps_identity(number, &device, &inode) }
    self.device = device
    self.inode = inode
  }
}

extension VMO {
  /// The name that the kernel shows for the buffer, nil where it has none.
  ///
  /// For a dma-buf it is one for all handles and any holder may have changed it.
  public var name: String? {
    get throws(HeapError) {
      switch kind {
      case .dmaBuf:
        return try dmaBufInfo("read a vmo's name").name
      case .memfd, .opaque:
        let link = try attempt("read a vmo's name") { () throws(Errno) in
          try SmallFile.link("/proc/self/fd/\(fd.rawValue)")
        }
        return Memfd.name(link: link)
      }
    }
  }

  /// Names the buffer, for everybody (`DMA_BUF_SET_NAME`, linux/dma-buf.h).
  ///
  /// - Throws: ``HeapError/Code/outOfRange`` for more than 31 bytes and
  ///   ``HeapError/Code/notSupported`` for a memfd, whose name is given once, when it is made.
  public func setName(_ name: String) throws(HeapError) {
    func operation() -> String { "name a vmo \"\(name)\"" }
    guard kind == .dmaBuf else {
      throw HeapError(
        .notSupported, operation(), cause: "the name of a memfd cannot be changed")
    }
    guard name.utf8.count <= DMABuf.longestName else {
      throw HeapError(
        .outOfRange, operation(), cause: "\(name.utf8.count) bytes; the kernel takes 31")
    }
    guard !name.utf8.contains(0) else {
      throw HeapError(.invalidArgs, operation(), cause: "the name contains a NUL byte")
    }
    try attempt(operation()) { () throws(Errno) in
      try DMABuf.setName(name, of: fd.rawValue)
    }
  }

  /// References to the buffer's open file in the whole system, its heap's own included: descriptors
  /// in every process, mappings, messages in flight, imports of devices.
  ///
  /// Nil for a memfd, whose references the kernel does not tell.
  public var referenceCount: Int? {
    get throws(HeapError) {
      guard kind == .dmaBuf else { return nil }
      return try dmaBufInfo("count a vmo's references").count
    }
  }

  /// The exporter's name: the kernel's heap, or `udmabuf`; nil for a memfd.
  public var exporterName: String? {
    get throws(HeapError) {
      guard kind == .dmaBuf else { return nil }
      return try dmaBufInfo("read a vmo's exporter").exporter
    }
  }

  private func dmaBufInfo(_ operation: String) throws(HeapError) -> FDInfo {
    let info = try attempt(operation) { () throws(Errno) in
      try FDInfo.read(fd.rawValue)
    }
    guard let info else {
      throw HeapError(.internal, operation, cause: "fdinfo does not describe a dma-buf")
    }
    return info
  }
}

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
  /// The vmo's range is the whole buffer.
  ///
  /// - Throws: ``HeapError/Code/badHandle`` for a descriptor that is not open,
  ///   ``HeapError/Code/wrongType`` for one of something else, ``HeapError/Code/invalidArgs`` for a
  ///   memfd of no size, or one that is not sealed against shrinking, as no file of a tmpfs is. The descriptor is closed.
  public init(adopting descriptor: consuming OwnedFD) throws(HeapError) {
    try self.init(adopting: descriptor, isServed: false)
  }

  /// - Parameters:
  ///   - isServed: Whether a heap in another process has just made it.
  ///   - isContiguous: For a request of contiguous memory: a service refuses what its heap has not.
  package init(
    adopting descriptor: consuming OwnedFD, isServed: Bool, isContiguous: Bool = false
  ) throws(HeapError) {
    let number = descriptor.rawValue
    func refusal(_ code: HeapError.Code, _ cause: String) -> HeapError {
      HeapError(code, "adopt descriptor \(number)", cause: cause)
    }
    let identity: VMOIdentity
    let found: (kind: Kind, size: UInt64, canShrink: Bool, info: FDInfo?)?
    do throws(Errno) {
      let status = try descriptor.status()
      identity = VMOIdentity(status)
      found = try Self.examine(descriptor, status)
    } catch {
      throw HeapError(error, "adopt descriptor \(number)")
    }
    guard let (kind, size, canShrink, info) = found else {
      let file = try? SmallFile.link("/proc/self/fd/\(number)")
      throw refusal(
        .wrongType, "\(file ?? "an unknown file") is neither a dma-buf nor a memfd")
    }
    guard size > 0 else { throw refusal(.invalidArgs, "the memfd has no size") }
    // Whoever punches a hole into such a file gives the page back, and the next reader has none where another process took it.
    guard kind == .dmaBuf || !CLinuxHeaps_has_huge_pages(number) else {
      throw HeapError(
        .invalidArgs, "adopt descriptor \(number)",
        cause:
          "the file has huge pages: where another holder punches a hole and no huge page is free, SIGBUS ends whoever reads it here",
        fix: "have its maker take a memfd of ordinary pages, or a dma-buf of it (udmabuf)")
    }
    guard !canShrink else {
      throw HeapError(
        .invalidArgs, "adopt descriptor \(number)",
        cause:
          "the file is not sealed against shrinking: where its other holders make it shorter, "
          + "SIGBUS ends whoever reads it here",
        fix: "have its maker take a memfd that allows seals, and add F_SEAL_SHRINK (fcntl(2))")
    }
    var heapName = isServed ? info?.exporter ?? kind.rawValue : nil
    if isContiguous, heapName == UDMABufHeap.name { heapName = HugeHeap.name }
    self.init(
      fd: ChildFD(descriptor, of: ReclaimerCore.buffer(of: identity)), kind: kind,
      identity: identity, offset: 0, byteCount: size, heapName: heapName)
  }

  /// What a descriptor is of, its size in whole pages, and of a dma-buf what fdinfo says; nil for neither a dma-buf nor a memfd.
  ///
  /// - Parameter status: The descriptor's, where it is known.
  static func examine(
    _ descriptor: borrowing OwnedFD, _ status: stat? = nil
  ) throws(Errno) -> (kind: Kind, size: UInt64, canShrink: Bool, info: FDInfo?)? {
    let number = descriptor.rawValue
    // Only files that live in memory have seals: memfds, and those of tmpfs. Asking is one call, and fdinfo four.
    guard let seals = try? call({ CLinuxHeaps_get_seals(number) }) else {
      return try FDInfo.read(number).map { (.dmaBuf, $0.size, false, $0) }
    }
    // What others seal against writing has pages that can be read.
    let opaque = CLinuxHeaps_F_SEAL_WRITE | CLinuxHeaps_F_SEAL_FUTURE_WRITE
    let isOpaque = seals & opaque == opaque
    let size = if let status { status.st_size } else { try descriptor.status().st_size }
    let canShrink = seals & CLinuxHeaps_F_SEAL_SHRINK == 0
    return (isOpaque ? .opaque : .memfd, UInt64(size).roundedUpToPages ?? 0, canShrink, nil)
  }
}

extension MessageSocket {
  /// Sends one message with a handle to `vmo`'s buffer; the sender keeps its own.
  ///
  /// The descriptor stands for the whole buffer. Where the vmo is a slice, the message has to say
  /// which, and the receiver slices what it adopts.
  ///
  /// - Throws: What ``send(_:descriptors:)`` throws.
  public func send(_ bytes: [UInt8], passing vmo: borrowing VMO) throws(HeapError) {
    try send(bytes, descriptors: [vmo.fd.rawValue])
  }
}
