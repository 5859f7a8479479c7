internal import CLibrary
public import SystemPackage

/// Which dma-buf heaps this machine has.
///
/// Read anew at each question, because heaps can be modules (Linux 7.0): a node may appear late.
public struct HeapCatalog: Sendable {
  /// Where the kernel, or a test, puts the nodes.
  let directory: String
  let regionDirectory: String
  /// Where the kernel tells which heaps it has, and by which device numbers (drivers/dma-buf/dma-heap.c).
  private let registry: String
  private let memoryFile: String
  let files: MachineFiles

  /// The kernel's own.
  package static let directory = "/dev/dma_heap"

  /// The machine's own.
  public init() { self.init(root: "") }

  /// The seam for tests: directories of any content.
  init(
    directory: String, regionDirectory: String, registry: String = "",
    memoryFile: String = MachineMemory.file, root: String = ""
  ) {
    self.directory = directory
    self.regionDirectory = root + regionDirectory
    self.registry = root + registry
    self.memoryFile = root + memoryFile
    files = MachineFiles(root: root)
  }

  /// Those of a machine whose root directory is `root`; its nodes are only looked at.
  package init(root: String) {
    self.init(
      directory: Self.directory, regionDirectory: "/sys/kernel/mm/cma",
      registry: "/sys/class/dma_heap", root: root)
  }

  /// The heaps, those of known names first. Empty where the kernel has none.
  public func heaps() -> [HeapEntry] {
    let names = self.names
    let regions = self.regions
    let registered = self.registered
    var devices: [UInt64: String] = [:]
    return names.map { name in
      let node = NodeStatus(files.path(path(name)))
      let actual = actualName(of: name, node, registered) ?? name
      var original = defaultRegionName(besides: actual, among: names, regions: regions)
      if actual != name, names.contains(actual) { original = original ?? actual }
      if let device = node?.device {
        // A symbolic link, or a second node of one device.
        original = original ?? devices[device]
        devices[device] = devices[device] ?? name
      }
      let role = role(named: actual, regions: regions)
      let region = role == .contiguous ? region(of: actual, among: names, regions: regions) : nil
      return HeapEntry(
        name: name, path: FilePath(path(name)), role: role,
        duplicateOf: original == name ? nil : original,
        kernels: KnownHeapName.named(name)?.kernels, node: node, region: region?.name,
        capacity: region?.total, free: region?.available,
        disguise: disguise(of: name, node, as: actual, role, registered, regions))
    }
  }

  /// - Throws: Where the directory cannot be read: with a full descriptor table the machine would seem to have no heap. Not where
  ///   it is not there, or closed to this process, which ``absence()`` tells.
  package func checkReadable(_ operation: String) throws(HeapError) {
    do throws(Errno) { _ = try SmallFile.entries(of: files.path(directory)) } catch
      .noSuchFileOrDirectory, .permissionDenied
    {} catch {
      throw HeapError(
        error, operation, at: directory,
        fix: error.canBeOfNode ? "look what it is: ls -ld \(directory)" : nil)
    }
  }

  func path(_ name: String) -> String { "\(directory)/\(name)" }

  /// Whether an entry is a link to what is not there.
  func isDangling(_ entry: HeapEntry) -> Bool {
    entry.node == nil && files.isDangling(path(entry.name))
  }

  /// The names of the nodes of a role, the preferred first, each memory once.
  func names(of role: HeapRole) -> [String] {
    heaps().filter {
      $0.role == role && $0.duplicateOf == nil && $0.disguise == nil && !isDangling($0)
    }.map(\.name)
  }

  /// What a person can do whose heap has no contiguous memory.
  var contiguousAdvice: String {
    let names = names(of: .contiguous)
    guard names.isEmpty else { return "use a contiguous heap: \(names.joined(separator: " "))" }
    return advice(
      for: .contiguous,
      else:
        "use a kernel with CONFIG_DMABUF_HEAPS_CMA and a region, or name a vendor's heap: heapctl doctor tells what is missing"
    )
  }

  /// What brings a heap of the role: its module, where that is installed and not loaded.
  func advice(for role: HeapRole, else other: String) -> String {
    switch role {
    case .system: KernelModule.systemHeap.advice(on: files, else: other)
    case .contiguous: KernelModule.contiguousHeap.advice(on: files, else: other)
    case .protected, .other: other
    }
  }

  /// That of the device behind the node, where there is one.
  func role(of name: String) -> HeapRole {
    heaps().first { $0.name == name }?.role ?? role(named: name)
  }

  /// By the table, else by the region of exactly the same name, else by the words that the name is made of.
  ///
  /// - Parameter regions: Nil to look them up only where the table does not know.
  package func role(named name: String, regions: Set<String>? = nil) -> HeapRole {
    if let known = KnownHeapName.named(name) { return known.role }
    if name == HugeHeap.name || isRegion(name, regions) { return .contiguous }
    return KnownHeapName.role(byWordsOf: name) ?? .other
  }

  /// Whether the kernel has a region of exactly this name. Where sysfs tells no regions (CONFIG_CMA_SYSFS), the device tree does: a node
  /// with `reusable` is one (rmem_cma_setup, kernel/dma/contiguous.c).
  private func isRegion(_ name: String, _ regions: Set<String>?) -> Bool {
    (regions ?? self.regions).contains(name)
      || !name.contains("/") && files.exists("/proc/device-tree/reserved-memory/\(name)/reusable")
  }

  /// The contiguous region behind a heap, as far as this kernel tells of it.
  func region(of name: String) -> CMARegion? {
    region(of: name, among: names, regions: regions)
  }

  /// The file with a region's free pages, made anew at each read from its start.
  func openAvailablePages(of region: CMARegion) throws(Errno) -> OwnedFD {
    try .open(CMARegion.availablePages(region.name, in: regionDirectory), O_RDONLY)
  }

  // MARK: Devices

  /// `MAJOR:MINOR` of each heap that the kernel has; empty where sysfs does not tell.
  package var registered: [String: String] {
    let names = (try? SmallFile.entries(of: registry)) ?? []
    return Dictionary(
      uniqueKeysWithValues: names.compactMap { name in number(of: name).map { (name, $0) } })
  }

  /// That of one heap.
  func number(of name: String) -> String? {
    (try? SmallFile.read("\(registry)/\(name)/dev")).map { $0.filter { $0 != "\n" } }
  }

  /// The kernel's name of the heap behind a node; nil where nothing tells it.
  private func actualName(
    of name: String, _ node: NodeStatus?, _ registered: [String: String]
  ) -> String? {
    guard let number = node?.deviceNumber else { return nil }
    if let heap = registered.first(where: { $0.value == number }) { return heap.key }
    // Without sysfs a link still tells.
    return (try? SmallFile.link(files.path(path(name)))).flatMap { target in
      let file =
        target.hasPrefix(directory + "/") ? target.dropFirst(directory.count + 1) : target[...]
      return file.contains("/") || !registered.isEmpty ? nil : String(file)
    }
  }

  /// What a node is in place of the heap that its name promises; nil where it is that heap, as far as anything tells.
  private func disguise(
    of name: String, _ node: NodeStatus?, as actual: String, _ role: HeapRole,
    _ registered: [String: String], _ regions: Set<String>
  ) -> String? {
    guard let number = node?.deviceNumber else { return nil }
    if let own = registered[name], own != number {
      return
        "is device \(number)\(actual == name ? "" : ", the heap \(actual)"), and the kernel's heap is \(own)"
    }
    let promised = self.role(named: name, regions: regions)
    if actual != name, promised != .other, role != .other, promised != role {
      return "is the heap \(actual), whose memory is \(role.rawValue) and not \(promised.rawValue)"
    }
    return registered.isEmpty || registered.values.contains(number)
      ? nil : "is device \(number), which is none of the kernel's heaps"
  }

  // MARK: Names and regions

  var names: [String] {
    ((try? SmallFile.entries(of: files.path(directory))) ?? []).sorted { left, right in
      let (a, b) = (KnownHeapName.preference(left), KnownHeapName.preference(right))
      return a == b ? left < right : a < b
    }
  }

  private var regions: Set<String> {
    Set((try? SmallFile.entries(of: regionDirectory)) ?? [])
  }

  /// The preferred name of the default region, where `name` is another name of it.
  private func defaultRegionName(
    besides name: String, among names: [String], regions: Set<String>
  ) -> String? {
    let preferred = "default_cma_region"
    guard name != preferred, names.contains(preferred) else { return nil }
    // The device tree's default has its node's name (rmem_cma_setup in kernel/dma/contiguous.c). With `cma=` none is made of it.
    let node = regions.first {
      files.exists("/proc/device-tree/reserved-memory/\($0)/linux,cma-default")
    }
    if let node { return name == node ? preferred : nil }
    if KnownHeapName.named(name)?.isDefaultRegion == true { return preferred }
    // The default region is one of the regions: with a single one, that is it.
    return regions == [name] ? preferred : nil
  }

  private func region(
    of name: String, among names: [String], regions: Set<String>
  ) -> CMARegion? {
    // Memory that only the words of a name call contiguous is another driver's, and of no region.
    guard
      KnownHeapName.named(name) != nil || isRegion(name, regions)
        || KnownHeapName.role(byWordsOf: name) == nil
    else { return nil }
    // `default_cma_region` names no region: it is the one whose own name is a heap's too.
    let own =
      regions.contains(name)
      ? name
      : regions.first { defaultRegionName(besides: $0, among: names, regions: regions) != nil }
        ?? (regions.count == 1 ? regions.first : nil)
    if let own, let region = CMARegion.read(own, in: regionDirectory) { return region }
    // Older kernels tell only all regions together: still no request can be larger.
    guard let memory = try? MachineMemory.read(memoryFile), memory.contiguousTotal > 0 else {
      return nil
    }
    return CMARegion(name: own ?? name, total: memory.contiguousTotal, available: nil)
  }
}

/// A dma-buf heap of this machine.
public struct HeapEntry: Sendable {
  /// The node's name, whole; it may hold commas and `@`.
  public let name: String
  public let path: FilePath
  public let role: HeapRole
  /// The preferred name of the same memory, nil where this is it.
  public let duplicateOf: String?
  /// The kernels that use this name; nil for a name that is not known.
  public let kernels: String?
  /// Nil where the node went away meanwhile.
  public let node: NodeStatus?
  /// The kernel's own name of its contiguous region; the heap's where the kernel tells none.
  package let region: String?
  /// Bytes of its contiguous region; on kernels before 7.0 those of all regions together.
  public let capacity: UInt64?
  /// Bytes of its region that no driver holds; they need not lie together. Known from Linux 7.0 on.
  public let free: UInt64?

  /// What its node is in place of the heap that the name promises: `is device 1:3, …`.
  package let disguise: String?

  /// Whether it is a device, and the heap of its name, as far as anything tells.
  var isHeap: Bool { node?.device != nil && disguise == nil }

  /// Whether this process may open it, too.
  package var isUsable: Bool { node?.isUsable == true && isHeap }

  /// Whether the name is one that kernels give their default contiguous region.
  package var isDefaultRegion: Bool { KnownHeapName.named(name)?.isDefaultRegion == true }
}

/// What a heap's memory is, as far as its name or its region tells.
public enum HeapRole: String, Hashable, Sendable {
  /// Single pages from the page allocator: not contiguous.
  case system
  /// Physically contiguous.
  case contiguous
  /// Out of the processor's reach (TEE heaps).
  case protected
  /// Not told; used where a person names it.
  case other

  /// What a person can do whose heap has no contiguous memory.
  package static var contiguousAdvice: String { HeapCatalog().contiguousAdvice }
}

/// A heap name that kernels are known to use, whole. Of other names two words mean something.
struct KnownHeapName {
  let name: String
  let role: HeapRole
  /// A name of the kernel's default contiguous region.
  var isDefaultRegion = false
  /// Where it comes from.
  let kernels: String

  /// In the order of preference within a role: those that the processor caches first, then those of
  /// vendors that it does not.
  static let table: [KnownHeapName] = [
    .init(name: "system", role: .system, kernels: "5.6 and later"),
    .init(
      name: "default_cma_region", role: .contiguous, isDefaultRegion: true,
      kernels: "6.17 and later"),
    // What the region itself is called. Before 6.17 it was the heap's only name; from 7.0 on it
    // stands beside `default_cma_region`: the same memory twice.
    .init(
      name: "linux,cma", role: .contiguous, isDefaultRegion: true,
      kernels: "5.6 and later, region from the device tree"),
    .init(
      name: "reserved", role: .contiguous, isDefaultRegion: true,
      kernels: "5.6 and later, region from cma= or the kernel's configuration"),
    .init(
      name: "default-pool", role: .contiguous, isDefaultRegion: true,
      kernels: "5.6 and later, some device trees"),
    .init(name: "cma", role: .contiguous, kernels: rockchip),
    .init(name: "linux,cma-uncached", role: .contiguous, kernels: "NXP's for i.MX"),
    .init(name: "reserved-uncached", role: .contiguous, kernels: "NXP's for i.MX"),
    .init(name: "cma-uncached", role: .contiguous, kernels: rockchip),
    .init(name: "system-dma32", role: .system, kernels: rockchip),
    .init(name: "system-uncached", role: .system, kernels: "Android's and Rockchip's"),
    .init(name: "system-uncached-dma32", role: .system, kernels: rockchip),
    // drivers/tee/tee_heap.c
    .init(name: "protected,secure-video", role: .protected, kernels: "6.18 and later"),
    .init(name: "protected,trusted-ui", role: .protected, kernels: "6.18 and later"),
    .init(name: "protected,secure-video-record", role: .protected, kernels: "6.18 and later"),
    .init(
      name: "system_cc_shared", role: .other, kernels: "7.x, confidential virtual machines"),
    // A link that Raspberry Pi OS' udev rule makes: what it leads to depends on the board.
    .init(
      name: "vidbuf_cached", role: .other, kernels: "Raspberry Pi OS, a link to system or linux,cma"
    ),
  ]

  private static let rockchip = "Rockchip's"

  static func named(_ name: String) -> KnownHeapName? { table.first { $0.name == name } }

  /// The words by which new heaps' names tell of their memory, as in `memory@42000000-contiguous`
  /// (Documentation/userspace-api/dma-buf-heaps.rst). Only whole ones; nil where none tells.
  static func role(byWordsOf name: String) -> HeapRole? {
    let words = name.split { "-,_@".contains($0) }
    let role: HeapRole? =
      words.contains("protected") ? .protected : words.contains("contiguous") ? .contiguous : nil
    let isDenied = words.contains("non") || words.contains("not")
    return role == nil || !isDenied ? role : .other
  }

  /// Where a name stands in the table; the unknown come last.
  static func preference(_ name: String) -> Int {
    table.firstIndex { $0.name == name } ?? table.count
  }
}
