internal import SystemPackage

/// The kernel's dma-buf heaps, `/dev/dma_heap` (Documentation/userspace-api/dma-buf-heaps.rst).
///
/// `is_physically_contiguous` chooses a contiguous heap and `is_secure` a protected one, else the
/// system heap serves. Contiguous memory is never replaced by other memory; where no heap has any left, huge pages serve, if
/// some are reserved (``HugeHeap``). Of several heaps the next
/// is tried when one is absent or full; ``VMO/heapName`` says which served. A request whose ``HeapIdentifier/heapType`` is a
/// node's path, `/dev/dma_heap/NAME`, is served by that heap or by none.
public struct DMABufHeap: LocalHeap {
  public let properties: HeapProperties
  public let buffers: LiveBuffers
  public let descriptorsPerBuffer: Int
  private let catalog: HeapCatalog
  private let chosen: [String]?
  /// Where it is the last of those chosen.
  private let udmabuf: UDMABufHeap?
  private let hugePages: HugePages
  private let devices: HeapDevices
  package let admission: Admission
  /// Requests for system memory are served by heaps of that role alone.
  private let keepsToSystemRole: Bool

  /// - Parameters:
  ///   - heaps: Names in the order of preference, for every request; a heap whose kind of memory is
  ///     known to be other than asked for is passed over. One can be `hugetlb` (``HugeHeap/name``), and the last
  ///     `udmabuf` (``UDMABufHeap/name``). Nil lets the catalog choose by role, and `hugetlb` stand behind it for contiguous memory.
  ///   - catalog: Which heaps there are.
  ///   - admission: What may be asked of the kernel at most.
  ///   - reclaimer: Whose thread watches the buffers.
  public init(
    heaps: [String]? = nil, catalog: HeapCatalog = HeapCatalog(), admission: Admission = .standard,
    reclaimer: Reclaimer = .shared
  ) {
    udmabuf =
      heaps?.last == UDMABufHeap.name
      ? UDMABufHeap(admission: admission, reclaimer: reclaimer) : nil
    hugePages = HugePages(admission)
    // Where pages are reserved later they have few memfds, one a page.
    let hasMemfds = udmabuf != nil || heaps?.contains(HugeHeap.name) ?? HugeHeap.isUsable
    descriptorsPerBuffer = hasMemfds ? 2 : 1
    let heaps = udmabuf == nil ? heaps : heaps?.dropLast()
    self.chosen = heaps
    self.catalog = catalog
    self.admission = admission
    let devices = HeapDevices(catalog, chosen: heaps)
    self.devices = devices
    buffers = LiveBuffers(reclaimer: reclaimer, whenIdle: { [weak devices] in devices?.close() })
    let roles = heaps?.map { catalog.role(of: $0) } ?? catalog.heaps().map(\.role)
    keepsToSystemRole = heaps == nil || roles.allSatisfy { $0 == .system }
    // The processor's caches are kept in step by DMA_BUF_IOCTL_SYNC, whatever the domain is called.
    properties = HeapProperties(
      coherencyDomainSupport: CoherencyDomainSupport(
        cpuSupported: true, ramSupported: true, inaccessibleSupported: roles.contains(.protected)))
  }

  public func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    let role = HeapRole(askedFor: request)
    let node = request.settings.heapNode
    var failures: [(heap: String, error: HeapError)] = []
    for heap in candidates(role, node) {
      do throws(HeapError) {
        return try allocate(request, role, from: heap)
      } catch  where error.meansTryTheNextHeap {
        failures.append((heap.name, error))
      }
    }
    if chosen == nil, role == .contiguous, node == nil, HugeHeap.isUsable {
      do throws(HeapError) {
        return try hugePages.makeMemory(for: request)
      } catch  where error.meansTryTheNextHeap {
        failures.append((HugeHeap.name, error))
      }
    }
    if let udmabuf, role == .system, node == nil {
      do throws(HeapError) {
        return try udmabuf.makeMemory(for: request)
      } catch  where error.meansTryTheNextHeap {
        failures.append((UDMABufHeap.name, error))
      }
    }
    guard let last = failures.last?.error else { throw missing(role, request, node) }
    guard failures.count > 1 else { throw last }
    let skipped = failures.map { "\($0.heap) (\($0.error.code))" }.joined(separator: ", ")
    throw HeapError(
      last.code, request.operation, at: last.path?.string,
      cause: "\(last.cause); skipped: \(skipped)",
      errno: last.errno, fix: last.fix)
  }

  private func candidates(_ role: HeapRole, _ node: String?) -> [HeapCandidate] {
    node.map { devices.candidates(role, named: $0) } ?? devices.candidates(role)
  }

  /// Whether admission would let a request pass, to one of the kernel's heaps, when so many bytes of theirs are free that are not now.
  package func admits(_ request: borrowing BufferRequest, whenFree byteCount: UInt64) -> Bool {
    for heap in candidates(HeapRole(askedFor: request), request.settings.heapNode)
    where heap.name != HugeHeap.name {
      let source = heap.source
      // Of some regions no more is known than their size.
      if case .region(let region) = source, request.size > region.total { continue }
      do throws(HeapError) {
        _ = try admission.admit(request.size.less(byteCount), from: source, request.operation)
        return true
      } catch {}
    }
    return false
  }

  /// A few pages of the system heap: the kernel moves no others for them, and reclaims for them as little or much as for
  /// those that it takes to run the caller (`LOW_ORDER_GFP`, drivers/dma-buf/heaps/system_heap.c).
  public func makeMemoryAtOnce(
    for request: borrowing BufferRequest
  ) throws(HeapError) -> BufferMemory? {
    guard request.size <= 64 << 10, keepsToSystemRole, HeapRole(askedFor: request) == .system
    else { return nil }
    if let node = request.settings.heapNode {
      guard devices.candidates(.system).contains(where: { $0.name == node }) else { return nil }
    }
    return try makeMemory(for: request)
  }

  private func allocate(
    _ request: borrowing BufferRequest, _ role: HeapRole, from heap: HeapCandidate
  ) throws(HeapError) -> BufferMemory {
    if heap.name == HugeHeap.name { return try hugePages.makeMemory(for: request) }
    let device = try heap.open(request.operation)
    let grant = try admission.admit(
      request.size, from: heap.source, request.operation, at: heap.path)
    do throws(Errno) {
      let parent = try DMABufParent(
        try device.allocate(size: request.size), of: request.key)
      return BufferMemory(
        parent: parent, heapName: heap.name, grant: grant)
    } catch .noMemory {
      throw HeapError(
        .noMemory, request.operation, at: heap.path, cause: "the heap is full, or too fragmented",
        errno: .noMemory,
        fix: role == .contiguous
          ? "close buffers, or make the region larger: heapctl doctor tells how" : "close buffers")
    } catch {
      throw heap.refusal(of: device.refusedRequest, error, request.operation)
    }
  }

  private func missing(
    _ role: HeapRole, _ request: borrowing BufferRequest, _ node: String?
  ) -> HeapError {
    if let node {
      return HeapError(
        .notFound, request.operation, at: catalog.path(node),
        cause: "it is no heap that serves here, or its memory is of another kind")
    }
    if chosen?.isEmpty == true {
      return HeapError(.notFound, request.operation, cause: "no heap was named")
    }
    let operation = "\(request.operation) of \(role.rawValue) memory"
    do throws(HeapError) { try catalog.checkReadable(operation) } catch { return error }
    let entries = catalog.heaps()
    if chosen == nil {
      if let closed = catalog.absence(), closed.cause == .directoryClosed {
        return HeapError(closed, operation, at: catalog.directory, of: "directory")
      }
      // One of that kind whose node is not there, or is another device's.
      let lost = catalog.missing() + entries.filter { $0.disguise != nil }.map(\.name)
      if let name = lost.first(where: { catalog.role(named: $0) == role }),
        let refusal = catalog.refusal(of: name, among: entries)
      {
        return HeapError(refusal, operation, at: catalog.path(name))
      }
    }
    let names = entries.map(\.name)
    let cause =
      if let chosen {
        "none of the heaps given is: \(chosen.joined(separator: " "))"
      } else if names.isEmpty {
        "there is none in \(catalog.directory)"
      } else {
        "this machine has \(names.joined(separator: " "))"
      }
    let fix: String? =
      switch role {
      case .contiguous: catalog.contiguousAdvice
      case .protected: "a protected heap needs a trusted execution environment and its driver"
      case .system: systemAdvice(entries)
      case .other: nil
      }
    return HeapError(
      .notSupported, operation,
      cause: "no \(role.rawValue) heap: \(cause)", fix: fix)
  }
}

extension DMABufHeap {
  /// What a person can do whose request for system memory no heap serves: those of other roles serve who asks for them.
  private func systemAdvice(_ entries: [HeapEntry]) -> String {
    let usable = entries.filter { $0.isUsable && $0.duplicateOf == nil }
    func names(_ role: HeapRole) -> String? {
      let names = usable.filter { $0.role == role }.map(\.name)
      return names.isEmpty ? nil : names.joined(separator: " ")
    }
    if let heaps = names(.system) { return "use a system heap: \(heaps)" }
    if let heaps = names(.contiguous) {
      return "ask for contiguous memory, which this machine has: \(heaps)"
    }
    if let heaps = names(.other) { return "name the heap that is to serve: \(heaps)" }
    return catalog.advice(
      for: .system, else: "use a kernel with CONFIG_DMABUF_HEAPS_SYSTEM, or the udmabuf heap")
  }
}

extension HeapRole {
  package init(askedFor request: borrowing BufferRequest) {
    self =
      if request.settings.bufferSettings?.isSecure == true {
        .protected
      } else if request.settings.asksForContiguous {
        .contiguous
      } else {
        .system
      }
  }
}

extension HeapError {
  /// Absent, or full.
  fileprivate var meansTryTheNextHeap: Bool {
    code == .noMemory || code == .notFound && errno != nil
      || errno == .noSuchAddressOrDevice || errno == .operationNotSupportedByDevice
  }
}
