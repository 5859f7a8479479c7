internal import CLinuxHeaps
internal import Glibc
package import SystemPackage

/// The kernel's dma-buf heaps, `/dev/dma_heap` (Documentation/userspace-api/dma-buf-heaps.rst).
///
/// `is_physically_contiguous` chooses a contiguous heap and `is_secure` a protected one, else the
/// system heap serves. Contiguous memory is never replaced by other memory. Of several heaps the next
/// is tried when one is absent or full; ``VMO/heapName`` says which served.
public struct DMABufHeap: LocalHeap {
  public let properties: HeapProperties
  public let buffers: LiveBuffers
  private let catalog: HeapCatalog
  private let chosen: [String]?
  private let admission: Admission
  /// The region of each contiguous heap that served already.
  private let regionNames = Guarded<[String: String]>([:])

  /// - Parameters:
  ///   - heaps: Names in the order of preference, for every request; a heap whose kind of memory is
  ///     known to be other than asked for is passed over. Nil lets the catalog choose by role.
  ///   - catalog: Which heaps there are.
  ///   - admission: What may be asked of the kernel at most.
  ///   - reclaimer: Whose thread watches the buffers.
  public init(
    heaps: [String]? = nil, catalog: HeapCatalog = HeapCatalog(), admission: Admission = .standard,
    reclaimer: Reclaimer = .shared
  ) {
    self.chosen = heaps
    self.catalog = catalog
    self.admission = admission
    buffers = LiveBuffers(reclaimer: reclaimer)
    let roles = heaps?.map { catalog.role(of: $0) } ?? catalog.heaps().map(\.role)
    // The processor's caches are kept in step by DMA_BUF_IOCTL_SYNC, whatever the domain is called.
    properties = HeapProperties(
      coherencyDomainSupport: CoherencyDomainSupport(
        cpuSupported: true, ramSupported: true, inaccessibleSupported: roles.contains(.protected)))
  }

  public func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    let key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
    let role = HeapRole(asking: settings)
    return try buffers.allocate(key, size: size, cleanup: cleanup) {
      (size, operation) throws(HeapError) in
      try allocate(size, role, named: key.description, operation)
    }
  }

  private func allocate(
    _ size: UInt64, _ role: HeapRole, named name: String, _ operation: () -> String
  ) throws(HeapError) -> LiveBuffers.Memory {
    let candidates = try candidates(role, operation)
    var last: HeapError?
    var passed: [String] = []
    for heap in candidates {
      do throws(HeapError) {
        return try allocate(size, role, from: heap, named: name, operation)
      } catch  where error.meansTryTheNextHeap {
        passed.append("\(heap) (\(error.code))")
        last = error
      }
    }
    guard let last, passed.count > 1 else {
      throw last ?? HeapError(.notFound, operation(), cause: "no heap was named")
    }
    throw HeapError(
      last.code, operation(), at: last.path?.string,
      cause: "\(last.cause); skipped: "
        + passed.joined(separator: ", "), errno: last.errno, fix: last.fix)
  }

  private func allocate(
    _ size: UInt64, _ role: HeapRole, from heap: String, named name: String,
    _ operation: () -> String
  ) throws(HeapError) -> LiveBuffers.Memory {
    let path = catalog.path(heap)
    guard !heap.isEmpty, heap != ".", heap != "..", !heap.utf8.contains(UInt8(ascii: "/")) else {
      throw HeapError(
        .noSuchFileOrDirectory, operation(), at: path,
        cause: "a heap's name must be a plain file name",
        fix: advice)
    }
    let device = try open(path, operation())
    var source = Admission.Source.pages
    if catalog.role(of: heap) == .contiguous, let region = region(of: heap) {
      source = .region(region)
    }
    let grant = try admission.admit(size, from: source, operation(), at: path)
    do throws(Errno) {
      let parent = try DMABufParent(try device.allocate(size: size), name: name)
      return LiveBuffers.Memory(
        parent: parent, child: try parent.openChild(), heapName: heap, grant: grant)
    } catch .noMemory {
      throw HeapError(
        .noMemory, operation(), at: path, cause: "the heap is full, or too fragmented",
        errno: .noMemory,
        fix: role == .contiguous
          ? "close buffers, or boot with a larger region, e.g. cma=256M" : "close buffers")
    } catch {
      throw HeapError(error, operation(), at: path)
    }
  }

  private func open(
    _ path: String, _ operation: @autoclosure () -> String
  ) throws(HeapError) -> HeapDevice {
    do throws(Errno) { return try HeapDevice(path) } catch {
      throw HeapError(
        opening: path, operation(), error, absent: "no such heap", fix: advice)
    }
  }

  /// - Throws: Why this process may not open a heap of this name.
  package func check(_ heap: String, _ operation: String) throws(HeapError) {
    _ = try open(catalog.path(heap), operation)
  }

  /// For who named a heap that there is not.
  private var advice: String {
    let names = catalog.heaps().map(\.name)
    return names.isEmpty
      ? "use a kernel with CONFIG_DMABUF_HEAPS, or the memfd heap"
      : "use one of: \(names.joined(separator: " "))"
  }

  private func region(of heap: String) -> CMARegion? {
    let region = catalog.region(of: heap, known: regionNames.withLock { $0[heap] })
    if let region { regionNames.withLock { $0[heap] = region.name } }
    return region
  }

  /// The heaps to try, at least one.
  private func candidates(_ role: HeapRole, _ operation: () -> String) throws(HeapError) -> [String]
  {
    if let chosen {
      let fitting = chosen.filter { name in
        let known = catalog.role(of: name)
        // What is not known to be something else may be what its user knows it to be.
        return role == .system ? known != .protected : known == role || known == .other
      }
      guard fitting.isEmpty else { return fitting }
      throw missing(role, operation, "none of the heaps given is: \(chosen.joined(separator: " "))")
    }
    let found = catalog.names(of: role)
    guard found.isEmpty else { return found }
    let names = catalog.heaps().map(\.name)
    throw missing(
      role, operation,
      names.isEmpty
        ? "\(catalog.directory) has no heap" : "this machine has \(names.joined(separator: " "))")
  }

  private func missing(_ role: HeapRole, _ operation: () -> String, _ cause: String) -> HeapError {
    let fix: String? =
      switch role {
      case .contiguous:
        "boot with cma=64M on a kernel with CONFIG_DMABUF_HEAPS_CMA, or name a vendor's heap"
      case .protected: "a protected heap needs a trusted execution environment and its driver"
      case .system: "use a kernel with CONFIG_DMABUF_HEAPS_SYSTEM, or the memfd heap"
      case .other: nil
      }
    return HeapError(
      .notSupported, "\(operation()) of \(role.rawValue) memory",
      cause: "no \(role.rawValue) heap: \(cause)", fix: fix)
  }
}

extension HeapRole {
  fileprivate init(asking settings: SingleBufferSettings) {
    let memory = settings.bufferSettings
    self =
      memory?.isSecure == true
      ? .protected : memory?.isPhysicallyContiguous == true ? .contiguous : .system
  }
}

extension HeapError {
  /// Absent, or full.
  fileprivate var meansTryTheNextHeap: Bool {
    code == .noMemory || code == .notFound && errno != nil
      || errno == .noSuchAddressOrDevice || errno == .operationNotSupportedByDevice
  }
}

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
