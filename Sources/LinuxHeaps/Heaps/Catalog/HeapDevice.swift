internal import CLinuxHeaps
internal import Glibc
package import SystemPackage

/// A heap's character device, `/dev/dma_heap/NAME` (linux/dma-heap.h).
package struct HeapDevice: Sendable {
  private let file: SharedFD
  /// A seccomp filter ends who allocates.
  private let isDeadly: Bool
  /// Once for the process: a filter is of calls, not of files.
  private static let trial = Guarded<Bool?>(nil)

  /// Opens for reading, which is all that the kernel asks of an allocator.
  package init(_ path: String) throws(Errno) {
    file = SharedFD(try .open(path, O_RDONLY))
    let heap = file.fd.rawValue
    isDeadly = Self.trial.withLock { known in
      let found =
        known ?? (Surroundings.hasSyscallFilter() && CLinuxHeaps_dma_heap_alloc_kills(heap))
      known = found
      return found
    }
  }

  /// A new dma-buf of `size` zeroed bytes; the kernel rounds up to whole pages.
  ///
  /// The request is made as it is. The system heap refuses none for being too large: it takes pages
  /// until the out-of-memory killer runs, so ``Admission`` comes first.
  package func allocate(size: UInt64) throws(Errno) -> OwnedFD {
    // As a filter that refuses would answer.
    if isDeadly { throw .noFunction }
    var data = dma_heap_allocation_data(
      len: size, fd: 0, fd_flags: UInt32(O_RDWR | O_CLOEXEC), heap_flags: 0)
    let heap = file.fd.rawValue
    _ = try call { unsafe CLinuxHeaps_dma_heap_alloc(heap, &data) }
    return OwnedFD(adopting: CInt(bitPattern: data.fd))
  }
}

/// A heap that requests may be served from: its device is open once it was needed.
final class HeapCandidate: Sendable {
  let name: String
  let path: String
  private let role: HeapRole
  private let isDisguised: Bool
  private let catalog: HeapCatalog
  private let device = Guarded<HeapDevice?>(nil)
  private let region = Guarded<Region>(.unknown)

  /// - Parameter entry: What the catalogue has under this name.
  init(_ name: String, _ entry: HeapEntry?, in catalog: HeapCatalog) {
    self.name = name
    path = catalog.path(name)
    role = entry?.role ?? catalog.role(named: name)
    isDisguised = entry?.disguise != nil
    self.catalog = catalog
  }

  /// Whether it names a node of the directory, and no other file.
  var isPlainName: Bool {
    !name.isEmpty && name != "." && name != ".." && !name.utf8.contains(UInt8(ascii: "/"))
  }

  func open() throws(Errno) -> HeapDevice {
    try device.withLock { device throws(Errno) in
      if let device { return device }
      guard isPlainName, !isDisguised else { throw .noSuchFileOrDirectory }
      let opened = try HeapDevice(path)
      device = opened
      return opened
    }
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
