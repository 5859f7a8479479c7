internal import CLibrary
internal import CLinuxHeaps
internal import Synchronization
internal import SystemPackage

/// Physically contiguous dma-bufs where there is no contiguous heap: parts of huge pages, by `/dev/udmabuf`.
///
/// A buffer lies in one page of hugetlbfs, of the smallest size that holds it and of which one is free. Smaller buffers share a page,
/// which goes back to the kernel with the last of them. Where a buffer need not be contiguous (`is_physically_contiguous`), a larger
/// one has several pages. Root reserves the pages: `heapctl doctor` tells how. <doc:HugePages>
public struct HugeHeap: LocalHeap {
  /// The name that ``VMO/heapName`` shows.
  public static let name = "hugetlb"

  public let properties = HeapProperties(
    coherencyDomainSupport: CoherencyDomainSupport(
      cpuSupported: true, ramSupported: true, inaccessibleSupported: false))
  public let buffers: LiveBuffers
  public func hasMemory(for settings: SingleBufferSettings) -> Bool {
    settings.bufferSettings?.isSecure != true
  }
  /// The dma-buf, and the memfd of its huge page.
  public var descriptorsPerBuffer: Int { 2 }
  private let pages: HugePages

  public init(admission: Admission = .standard, reclaimer: Reclaimer = .shared) {
    pages = HugePages(admission)
    buffers = LiveBuffers(reclaimer: reclaimer)
  }

  /// Whether this process may open `/dev/udmabuf`, Linux is 6.17 or later, and pages are reserved. <doc:HugePages>
  public static var isUsable: Bool {
    UDMABufHeap.mapsHugePages && UDMABufHeap.isUsable && HugePageSize.areReserved()
  }

  public func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    try pages.makeMemory(for: request)
  }

  /// - Throws: Why this process can make none.
  package static func check(_ operation: String) throws(HeapError) {
    try UDMABufHeap.check(operation)
    try checkKernel(operation)
    guard HugePageSize.areReserved() else {
      throw HeapError(
        .notSupported, operation, at: HugePageSize.directory, cause: "no huge page is reserved",
        fix: HugePageSize.advice())
    }
  }

  fileprivate static func checkKernel(_ operation: String) throws(HeapError) {
    if UDMABufHeap.mapsHugePages { return }
    throw HeapError(
      .notSupported, operation, at: UDMABufHeap.path,
      cause:
        "drivers of Linux \(kernelRelease) map other pages than a buffer's where those are huge",
      fix: "use Linux 6.17 or later")
  }
}

/// The huge pages of one size (Documentation/admin-guide/mm/hugetlbpage.rst).
package struct HugePageSize: Sendable {
  package static let directory = "/sys/kernel/mm/hugepages"

  package let bytes: UInt64
  private let path: String
  private let files: MachineFiles

  /// The smallest first; none where the kernel has no hugetlbfs. Which there are depends on the processor, and on arm64 on the
  /// size of its pages, too.
  package static func all(_ files: MachineFiles = MachineFiles()) -> [HugePageSize] {
    files.entries(directory).compactMap { HugePageSize($0, files) }.sorted { $0.bytes < $1.bytes }
  }

  /// - Parameter name: `hugepages-2048kB`.
  private init?(_ name: String, _ files: MachineFiles) {
    guard let kibibytes = UInt64(name.dropFirst(10).dropLast(2)) else { return nil }
    bytes = kibibytes << 10
    path = "\(Self.directory)/\(name)"
    self.files = files
  }

  private func count(_ file: String) -> UInt64 { files.number("\(path)/\(file)") ?? 0 }

  /// Pages that the kernel makes where none is left, if it finds them; who allows them can write any number.
  private var surplus: UInt64 {
    min(count("nr_overcommit_hugepages").less(count("surplus_hugepages")), 1 << 30)
  }

  /// Bytes of all pages.
  package var total: UInt64 { (count("nr_hugepages") + surplus) * bytes }

  /// Bytes of those that nobody has or was promised.
  package var available: UInt64 {
    (count("free_hugepages").less(count("resv_hugepages")) + surplus) * bytes
  }

  package static func areReserved(_ files: MachineFiles = MachineFiles()) -> Bool {
    all(files).contains { $0.total > 0 }
  }

  /// What reserves some besides those that are: 32 MiB, or what a request takes, in pages of 2 MiB or the next larger.
  ///
  /// - Parameters:
  ///   - request: Bytes.
  ///   - isContiguous: Whether they have to lie in one page.
  package static func advice(
    _ files: MachineFiles = MachineFiles(), for request: UInt64 = 0, isContiguous: Bool = true
  ) -> String {
    let sizes = all(files).filter { $0.bytes >= 2 << 20 }
    guard let largest = sizes.last else { return "use a kernel with CONFIG_HUGETLBFS" }
    guard let size = sizes.first(where: { $0.bytes >= request || !isContiguous }) else {
      return "ask for at most \(largest.bytes.asByteCount), the largest huge page of this machine"
    }
    let count =
      size.count("nr_hugepages") + (max(request, 32 << 20, size.bytes) - 1) / size.bytes + 1
    return "echo \(count) | sudo tee \(size.path)/nr_hugepages"
      + "  # until the next boot; hugepagesz=\(size.bytes >> 10)K hugepages=\(count) on the kernel's command line stays"
  }
}

/// The huge pages that a heap has, each for as long as a buffer lies in it.
final class HugePages: Sendable {
  private struct Entry: Sendable {
    weak var page: HugePage?
  }

  /// Pages are made under the lock, so that two who need a part do not take a page each.
  private let pages = Guarded<[Entry]>([])
  private let admission: Admission

  init(_ admission: Admission) { self.admission = admission }

  func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    let (size, operation) = (request.size, request.operation)
    let isContiguous = request.settings.asksForContiguous
    let device = try UDMABufHeap.open(operation)
    try HugeHeap.checkKernel(operation)
    // For the budget: it is the kernel that counts huge pages, and it gives none that it promised to others.
    let grant = try admission.admit(size, from: .nothing, operation)
    try UDMABufHeap.checkLimit(request)
    do throws(Errno) {
      let part = try pages.withLock { (pages) throws(Errno) in
        try Self.part(size, isContiguous, of: &pages)
      }
      try part.clear()
      let parent = try UDMABufHeap.create(
        device, .init(memfd: part.memfd, offset: part.offset, part: part), byteCount: size,
        of: request.key)
      return BufferMemory(parent: parent, heapName: HugeHeap.name, grant: grant)
    } catch .noSpace {
      let advice = HugePageSize.advice(for: size, isContiguous: isContiguous)
      let isTooLarge = isContiguous && !HugePageSize.all().contains { $0.bytes >= size }
      throw HeapError(
        .noMemory, operation, at: HugePageSize.directory,
        cause: !isContiguous
          ? "so many huge pages are not free"
          : "it has to lie in one huge page, and none "
            + (isTooLarge ? "holds it" : "that holds it is free"),
        fix: isTooLarge ? advice : "close buffers, ask for less, or reserve pages: \(advice)")
    } catch {
      throw UDMABufHeap.refusal(error, operation)
    }
  }

  private static func part(
    _ size: UInt64, _ isContiguous: Bool, of pages: inout [Entry]
  ) throws(Errno) -> HugePart {
    for entry in pages {
      if let part = entry.page?.part(size) { return part }
    }
    pages.removeAll { $0.page == nil }
    for kind in HugePageSize.all() where kind.bytes >= size || !isContiguous {
      let byteCount = (size + kind.bytes - 1) / kind.bytes * kind.bytes
      if byteCount > kind.available { continue }
      do throws(Errno) {
        let page = try HugePage(byteCount, of: kind.bytes)
        // What is left of several is for nobody: a part could lie in two.
        if byteCount == kind.bytes { pages.append(Entry(page: page)) }
        return page.part(size)!
      } catch  where error == .noSpace || error == .noMemory {}
    }
    throw .noSpace
  }
}

/// A huge page in a memfd of its own, and which of its bytes are buffers; or several, for one buffer.
final class HugePage: Sendable {
  fileprivate let memfd: SharedFD
  private let byteCount: UInt64
  private let parts: Guarded<HugePageParts>

  /// - Throws: `noSpace` where too few of that size are free.
  fileprivate init(_ byteCount: UInt64, of pageSize: UInt64) throws(Errno) {
    memfd = SharedFD(
      try Memfd.create("lh:\(HugeHeap.name)", size: byteCount, hugePageSize: pageSize))
    self.byteCount = byteCount
    parts = Guarded(HugePageParts(byteCount: byteCount))
    // Clears the pages (hugetlbfs_fallocate, fs/hugetlbfs/inode.c).
    let number = memfd.fd.rawValue
    _ = try call { CLinuxHeaps_fallocate(number, byteCount) }
  }

  fileprivate func part(_ size: UInt64) -> HugePart? {
    guard let (offset, isUsed) = parts.withLock({ $0.take(size) }) else { return nil }
    return HugePart(self, offset, size, isUsed: isUsed)
  }

  fileprivate func giveBack(_ offset: UInt64) { parts.withLock { $0.giveBack(offset) } }

  /// hugetlbfs has no write(2), and maps whole pages.
  fileprivate func clear(_ offset: UInt64, _ size: UInt64) throws(Errno) {
    let length = Int(byteCount)
    let bytes = unsafe mmap(
      nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, memfd.fd.rawValue, 0)
    guard let bytes = unsafe bytes, unsafe bytes != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    unsafe memset(bytes + Int(offset), 0, Int(size))
    unsafe munmap(bytes, length)
  }
}

/// Which bytes of a huge page are buffers.
struct HugePageParts {
  let byteCount: UInt64
  /// In the order of their places.
  private var taken: [(offset: UInt64, end: UInt64)] = []
  /// What lies before it may have been a buffer's.
  private var used: UInt64 = 0

  init(byteCount: UInt64) { self.byteCount = byteCount }

  /// The first place with so many bytes, and whether some of them may have been a buffer's.
  mutating func take(_ size: UInt64) -> (offset: UInt64, isUsed: Bool)? {
    var offset: UInt64 = 0
    var index = 0
    while index < taken.count, taken[index].offset - offset < size {
      offset = taken[index].end
      index += 1
    }
    guard byteCount - offset >= size else { return nil }
    taken.insert((offset, offset + size), at: index)
    defer { used = max(used, offset + size) }
    return (offset, offset < used)
  }

  mutating func giveBack(_ offset: UInt64) { taken.removeAll { $0.offset == offset } }
}

/// The part of a huge page that one buffer is; given back at its end.
final class HugePart: Sendable {
  private let page: HugePage
  private let isKept = Atomic(false)
  let offset: UInt64
  private let size: UInt64
  private let isUsed: Bool

  fileprivate init(_ page: HugePage, _ offset: UInt64, _ size: UInt64, isUsed: Bool) {
    self.page = page
    self.offset = offset
    self.size = size
    self.isUsed = isUsed
  }

  /// Somebody has it still: no other buffer gets its bytes any more.
  func keep() { isKept.store(true, ordering: .relaxed) }

  deinit { if !isKept.load(ordering: .relaxed) { page.giveBack(offset) } }

  var memfd: SharedFD { page.memfd }

  /// A page is cleared when it is made, and its parts when they are handed out again.
  fileprivate func clear() throws(Errno) {
    if isUsed { try page.clear(offset, size) }
  }
}
