internal import CLibrary
internal import CLinuxHeaps
package import SystemPackage

/// A heap's character device, `/dev/dma_heap/NAME` (linux/dma-heap.h).
package struct HeapDevice: Sendable {
  private let file: SharedFD
  private static let trial = DeadlyCall()
  static let allocationRequest = "DMA_HEAP_IOCTL_ALLOC"

  /// Opens for reading, which is all that the kernel asks of an allocator.
  package init(_ path: String) throws(Errno) {
    file = SharedFD(try .open(path, O_RDONLY))
  }

  /// A new dma-buf of `size` zeroed bytes; the kernel rounds up to whole pages.
  ///
  /// The request is made as it is. The system heap refuses none for being too large: it takes pages
  /// until the out-of-memory killer runs, so ``Admission`` comes first.
  package func allocate(size: UInt64) throws(Errno) -> OwnedFD {
    var data = dma_heap_allocation_data(
      len: size, fd: 0, fd_flags: UInt32(O_RDWR | O_CLOEXEC), heap_flags: 0)
    try request(&data)
    return OwnedFD(adopting: CInt(bitPattern: data.fd))
  }

  /// Whether a request comes as far as the driver: one with a descriptor is refused there before anything is allocated
  /// (dma_heap_ioctl_allocate, drivers/dma-buf/dma-heap.c).
  func check() throws(Errno) {
    var data = dma_heap_allocation_data(len: 1, fd: 1, fd_flags: 0, heap_flags: 0)
    do throws(Errno) { try request(&data) } catch .invalidArgument {}
  }

  private func request(_ data: inout dma_heap_allocation_data) throws(Errno) {
    let heap = file.fd.rawValue
    if Self.trial.isDeadly({ CLinuxHeaps_dma_heap_alloc_kills(heap) }) { throw .noFunction }
    _ = try call { unsafe CLinuxHeaps_dma_heap_alloc(heap, &data) }
  }

  /// Which of the requests that a named buffer takes was refused, found out by the first alone.
  package var refusedRequest: String {
    (try? allocate(size: pageSize)) == nil ? Self.allocationRequest : DMABuf.setNameRequest
  }
}

/// A call that a seccomp filter can end this process for. It is refused then as a filter that answers would (ENOSYS).
struct DeadlyCall: Sendable {
  /// Once for the process: a filter is of calls, not of files.
  private let known = Guarded<Bool?>(nil)

  /// - Parameter trial: Whether a child that makes the call is ended.
  func isDeadly(_ trial: () -> Bool) -> Bool {
    known.withLock { known in
      let found = known ?? (Surroundings.hasSyscallFilter() && trial())
      known = found
      return found
    }
  }
}

/// A heap that requests may be served from: its device is open once it was needed.
final class HeapCandidate: Sendable {
  let name: String
  let path: String
  private let role: HeapRole
  /// Whether something else is there than the heap of this name.
  private let isOther: Bool
  private let catalog: HeapCatalog
  private let device = Guarded<HeapDevice?>(nil)
  private let region = Guarded<Region>(.unknown)

  /// - Parameter entry: What the catalogue has under this name.
  init(_ name: String, _ entry: HeapEntry?, in catalog: HeapCatalog) {
    self.name = name
    path = catalog.path(name)
    role = entry?.role ?? catalog.role(named: name)
    isOther = entry.map { $0.node != nil && !$0.isHeap } ?? false
    self.catalog = catalog
  }

  /// Whether it names a node of the directory, and no other file.
  private var isPlainName: Bool {
    !name.isEmpty && name != "." && name != ".." && !name.utf8.contains(UInt8(ascii: "/"))
  }

  /// - Parameter heaps: Those of the catalogue, where they were listed just before.
  /// - Throws: Why this process may not open it.
  func open(
    _ operation: @autoclosure () -> String, among heaps: [HeapEntry]? = nil
  ) throws(HeapError) -> HeapDevice {
    do throws(Errno) {
      return try device.withLock { device throws(Errno) in
        if let device { return device }
        guard isPlainName, !isOther else { throw .noSuchFileOrDirectory }
        let opened = try HeapDevice(path)
        device = opened
        return opened
      }
    } catch {
      throw refusal(error, operation(), heaps)
    }
  }

  /// Finds out whether this process can use it, without an allocation.
  ///
  /// - Parameter heaps: Those of the catalogue.
  func check(_ operation: String, among heaps: [HeapEntry]) throws(HeapError) {
    let device = try open(operation, among: heaps)
    do throws(Errno) { try device.check() } catch {
      throw refusal(of: HeapDevice.allocationRequest, error, operation)
    }
  }

  /// - Parameter request: Which of the open device was refused.
  func refusal(
    of request: @autoclosure () -> String, _ error: Errno, _ operation: String
  ) -> HeapError {
    let refusal = Surroundings.refusal(
      of: request(), error, isRegistered: catalog.number(of: name) != nil)
    return refusal.map { HeapError($0, operation, at: path, error) }
      ?? HeapError(error, operation, at: path)
  }

  private func refusal(_ error: Errno, _ operation: String, _ heaps: [HeapEntry]?) -> HeapError {
    guard isPlainName || error != .noSuchFileOrDirectory else {
      let isPath = name.hasPrefix("/")
      return HeapError(
        error, operation, at: isPath ? name : path,
        cause: isPath
          ? "it is no node of \(HeapCatalog.directory)" : "a heap's name must be a plain file name",
        fix: advice)
    }
    // What is not the node's fault, such as a full descriptor table, has words of its own.
    if error.canBeOfNode, let refusal = catalog.refusal(of: name, among: heaps),
      refusal.cause != .openFailed
    {
      return HeapError(refusal, operation, at: path, refusal.cause == .wrongDevice ? nil : error)
    }
    guard error == .noSuchFileOrDirectory else { return HeapError(error, operation, at: path) }
    return HeapError(error, operation, at: path, cause: "no such heap", fix: advice)
  }

  /// For who named a heap that there is not.
  private var advice: String {
    let names = catalog.names.filter { !catalog.files.isDangling(catalog.path($0)) }
    return catalog.advice(
      for: catalog.role(named: name),
      else: names.isEmpty
        ? "use a kernel with CONFIG_DMABUF_HEAPS, or the memfd heap"
        : "use one of: \(names.joined(separator: " "))")
  }

  // MARK: Where its pages come from

  private enum Region {
    /// Not looked for yet.
    case unknown
    /// It has none, or the kernel tells nothing of it.
    case none
    /// Its free pages are read from the file at each request; the file is made anew at each read from its start.
    case counted(CMARegion, available: SharedFD)
    /// A kernel before 7.0 tells no more than the size of all regions together.
    case sized(CMARegion)
  }

  /// Regions are laid out when the machine boots, so that which one it is, and how large, stays so.
  var source: Admission.Source {
    switch role {
    case .contiguous: break
    case .protected: return .unchargedPages
    case .system, .other: return ControlGroup.chargesHeaps ? .pages : .unchargedPages
    }
    let found: CMARegion? = region.withLock { region in
      if case .unknown = region { region = Self.find(name, in: catalog) }
      switch region {
      case .unknown, .none: return nil
      case .sized(let whole): return whole
      case .counted(var whole, let available):
        whole.available = SmallFile.number(in: available.fd).map { $0 * pageSize }
        return whole
      }
    }
    return found.map { .region($0) } ?? .unchargedPages
  }

  private static func find(_ name: String, in catalog: HeapCatalog) -> Region {
    guard let region = catalog.region(of: name) else { return .none }
    guard region.available != nil, let file = try? catalog.openAvailablePages(of: region) else {
      return .sized(region)
    }
    return .counted(region, available: SharedFD(file))
  }
}
