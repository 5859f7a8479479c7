internal import CLibrary
internal import CLinuxHeaps
internal import SystemPackage

/// True dma-bufs of memfd pages, where the kernel has `/dev/udmabuf` (Documentation/driver-api/dma-buf.rst).
///
/// Any process that may open the device can use it, no heap needed. It has one kind of memory,
/// non-contiguous, and looks at no settings; ``HugeHeap`` has contiguous. Unlike other dma-bufs, a part of one can be a dma-buf of
/// its own: ``isolatedSlice(of:offset:byteCount:)``.
public struct UDMABufHeap: LocalHeap {
  /// The name that ``VMO/heapName`` shows.
  public static let name = "udmabuf"

  public let properties = HeapProperties(
    coherencyDomainSupport: CoherencyDomainSupport(
      cpuSupported: true, ramSupported: true, inaccessibleSupported: false))
  public let buffers: LiveBuffers
  public func hasMemory(for settings: SingleBufferSettings) -> Bool {
    !settings.asksForContiguous && settings.bufferSettings?.isSecure != true
  }
  /// The dma-buf, and the memfd that slices are made of.
  public var descriptorsPerBuffer: Int { 2 }
  private let admission: Admission

  public init(admission: Admission = .standard, reclaimer: Reclaimer = .shared) {
    self.admission = admission
    buffers = LiveBuffers(reclaimer: reclaimer)
  }

  /// Whether this process may open the device.
  public static var isUsable: Bool { unsafe access(Self.path, R_OK) == 0 }

  public func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    let device = try Self.open(request.operation)
    let size = request.size
    let grant = try admission.admit(size, from: .pages, request.operation, at: Self.path)
    // After what a larger limit would not help against.
    try Self.checkLimit(request)
    do throws(Errno) {
      let memfd = SharedFD(try Memfd.create(request.name, size: size))
      if Self.mapsHugePages { Memfd.takeHugePages(memfd.fd, size: size) }
      let parent = try Self.create(
        device, .init(memfd: memfd, offset: 0), byteCount: size, of: request.key)
      return BufferMemory(
        parent: parent, heapName: Self.name, grant: grant)
    } catch {
      throw Self.refusal(error, request.operation)
    }
  }

  /// A dma-buf of the first pages of somebody else's memfd, which stay charged to who filled it.
  ///
  /// The memfd is not kept, and what its owner can still do to it is for the caller to know. Pages that it lacks the kernel makes, and
  /// charges to this process, whose control groups have to have room for all of them. The heap's name is the caller's.
  package static func makeMemory(
    for request: borrowing BufferRequest, of memfd: BorrowedFD, heapName: String
  ) throws(HeapError) -> BufferMemory {
    let device = try open(request.operation)
    let size = request.size
    let grant = try Admission.standard.admit(
      size, from: .pagesOfOthers, request.operation, at: path)
    try checkLimit(request)
    do throws(Errno) {
      let descriptor = try create(device, memfd.rawValue, offset: 0, byteCount: size)
      return BufferMemory(
        parent: try DMABufParent(descriptor, of: request.key), heapName: heapName, grant: grant)
    } catch {
      throw refusal(error, request.operation)
    }
  }

  /// A dma-buf of its own over a part of `vmo`'s pages: its holder can map no other.
  ///
  /// It is a child of the same buffer, counted, asked for and reclaimed with it.
  ///
  /// - Throws: What ``VMO/slice(offset:byteCount:)`` throws, and ``HeapError/Code/notFound`` for a vmo
  ///   that is of no live buffer of this heap.
  public func isolatedSlice(
    of vmo: borrowing VMO, offset: UInt64, byteCount: UInt64
  ) throws(HeapError) -> VMO {
    try vmo.checkSlice(offset: offset, byteCount: byteCount)
    let operation = "make a dma-buf of \(byteCount.asByteCount) of a vmo"
    let (key, buffer) = try buffers.live(vmo, operation)
    let device = try Self.open(operation)
    guard let pages = vmo.pages else {
      throw HeapError(.badState, operation, cause: "the buffer is being reclaimed")
    }
    let start = pages.offset + offset
    do throws(Errno) {
      let parent = try Self.create(
        device, .init(memfd: pages.memfd, offset: start), byteCount: byteCount, of: key)
      let child = ChildFD(try parent.openChild(), of: buffer)
      buffers.core.add(parent, to: buffer)
      return VMO(
        fd: child, kind: .dmaBuf, identity: parent.identity, offset: 0, byteCount: byteCount,
        heapName: Self.name)
    } catch {
      throw Self.refusal(error, operation)
    }
  }

  /// Whether drivers that map a udmabuf for themselves find its pages where those are parts of huge ones.
  ///
  /// Before Linux 6.17 (a26fd92b7223, in 6.16.1, too) `dma_buf_vmap` shows them the first 4 KiB of each huge page again and again, or
  /// fails: what a camera of such a driver writes is not where the buffer's holders read.
  static let mapsHugePages = mapsHugePages(MachineFiles())

  package static func mapsHugePages(_ files: MachineFiles) -> Bool {
    !KernelVersion(files).isBefore(6, 17)
  }

  static func refusal(_ error: Errno, _ operation: String) -> HeapError {
    if let refusal = Memfd.refusal(error) { return HeapError(refusal, operation, error) }
    if let refusal = Surroundings.refusal(
      of: makesBuffers ? DMABuf.setNameRequest : "UDMABUF_CREATE", error)
    {
      return HeapError(refusal, operation, at: path, error)
    }
    return HeapError(error, operation, at: path)
  }

  /// Whether it is what follows that is refused.
  private static var makesBuffers: Bool {
    do throws(Errno) {
      let memfd = try Memfd.create("lh:trial", size: pageSize)
      _ = try create(
        try .open(path, O_RDONLY), memfd.rawValue, offset: 0, byteCount: pageSize)
      return true
    } catch {
      return false
    }
  }

  /// Tries the request with a size that is not of whole pages: the driver refuses it before it looks for the memfd (udmabuf_create,
  /// drivers/dma-buf/udmabuf.c).
  ///
  /// - Throws: Why this process can make none.
  package static func check(_ operation: String) throws(HeapError) {
    let device = try open(operation)
    try Memfd.check(operation)
    do throws(Errno) { _ = try create(device, -1, offset: 0, byteCount: 1) } catch {
      if error != .invalidArgument { throw refusal(error, operation) }
    }
  }

  // MARK: The device (linux/udmabuf.h)

  package static let path = "/dev/udmabuf"

  /// Why the device cannot be opened; nil where it can, and where the kernel has none.
  package static func refusal(in surroundings: Surroundings? = nil) -> AccessRefusal? {
    let files = surroundings?.files ?? MachineFiles()
    if files.openingError(path) == nil { return nil }
    return (surroundings ?? Surroundings(files)).refusal(
      opening: path, registered: number(files), kind: "misc")
  }

  /// `MAJOR:MINOR` of the device, where the kernel has it. Without sysfs /proc/misc tells, in lines of `MINOR NAME`.
  private static func number(_ files: MachineFiles) -> String? {
    if let number = files.line("/sys/class/misc/udmabuf/dev") { return number }
    let minor = (files.text("/proc/misc") ?? "").split(separator: "\n").lazy
      .map { $0.split(separator: " ") }.first { $0.last == "udmabuf" }?.first
    return minor.map { "10:\($0)" }
  }

  /// The most bytes that the driver puts into one dma-buf, nil where it does not tell: 64 MiB by
  /// default on 6.12, on 7.3 as good as none.
  private static var sizeLimit: UInt64? {
    SmallFile.number("/sys/module/udmabuf/parameters/size_limit_mb").map { $0 << 20 }
  }

  static func checkLimit(_ request: borrowing BufferRequest) throws(HeapError) {
    guard let limit = sizeLimit, request.size > limit else { return }
    throw HeapError(
      .noMemory, request.operation, at: path,
      cause: "the driver makes buffers of at most \(limit.asByteCount)",
      fix:
        "echo \((request.size - 1) >> 20 + 1) | sudo tee /sys/module/udmabuf/parameters/size_limit_mb"
    )
  }

  package static func open(
    _ operation: @autoclosure () -> String
  ) throws(HeapError) -> OwnedFD {
    do throws(Errno) { return try .open(path, O_RDONLY) } catch {
      if error.canBeOfNode, let refusal = refusal(), refusal.cause != .openFailed {
        throw HeapError(refusal, operation(), at: path, error)
      }
      guard error == .noSuchFileOrDirectory else {
        throw HeapError(error, operation(), at: path)
      }
      throw HeapError(
        error, operation(), at: path, cause: "this kernel has no udmabuf device",
        fix: KernelModule.udmabuf.fix)
    }
  }

  private static let trial = DeadlyCall()

  /// A dma-buf of the memfd's pages from its offset on; both numbers in whole pages. It pins them, as they are.
  ///
  /// The memfd has to be sealed against shrinking.
  static func create(
    _ device: borrowing OwnedFD, _ pages: DMABufParent.Pages, byteCount: UInt64, of key: BufferKey
  ) throws(Errno) -> DMABufParent {
    let descriptor = try create(
      device, pages.memfd.fd.rawValue, offset: pages.offset, byteCount: byteCount)
    return try DMABufParent(descriptor, of: key, pages: pages)
  }

  private static func create(
    _ device: borrowing OwnedFD, _ memfd: CInt, offset: UInt64, byteCount: UInt64
  ) throws(Errno) -> OwnedFD {
    let number = device.rawValue
    if trial.isDeadly({ CLinuxHeaps_udmabuf_create_kills(number) }) { throw .noFunction }
    return OwnedFD(
      adopting: try call { CLinuxHeaps_udmabuf_create(number, memfd, offset, byteCount) })
  }
}
