internal import SystemPackage

/// Which dma-buf heaps this machine has.
///
/// Read anew at each question, because heaps can be modules (Linux 7.0): a node may appear late.
public struct HeapCatalog: Sendable {
  /// Where the kernel, or a test, puts the nodes.
  let directory: String
  let regionDirectory: String
  private let memoryFile: String

  /// The machine's own.
  public init() { self.init(directory: "/dev/dma_heap", regionDirectory: "/sys/kernel/mm/cma") }

  /// The seam for tests: directories of any content.
  init(
    directory: String, regionDirectory: String, memoryFile: String = MachineMemory.file
  ) {
    self.directory = directory
    self.regionDirectory = regionDirectory
    self.memoryFile = memoryFile
  }

  /// Those of a machine whose root directory is `root`; its nodes are only looked at.
  package init(root: String) {
    self.init(
      directory: "\(root)/dev/dma_heap", regionDirectory: "\(root)/sys/kernel/mm/cma",
      memoryFile: root + MachineMemory.file)
  }

  /// The heaps, those of known names first. Empty where the kernel has none.
  public func heaps() -> [HeapEntry] {
    let names = self.names
    let regions = CMARegion.names(in: regionDirectory)
    var devices: [UInt64: String] = [:]
    return names.map { name in
      let node = NodeStatus("\(directory)/\(name)")
      var original = defaultRegionName(besides: name, among: names, regions: regions)
      if let device = node?.device {
        // A symbolic link, or a second node of one device.
        original = original ?? devices[device]
        devices[device] = devices[device] ?? name
      }
      let role = role(of: name, regions: regions)
      let region = role == .contiguous ? region(of: name, among: names, regions: regions) : nil
      return HeapEntry(
        name: name, path: FilePath(path(name)), role: role, duplicateOf: original,
        kernels: KnownHeapName.named(name)?.kernels, node: node, region: region?.name,
        capacity: region?.total, free: region?.available)
    }
  }

  func path(_ name: String) -> String { "\(directory)/\(name)" }

  /// The names of the nodes of a role, the preferred first, each memory once.
  func names(of role: HeapRole) -> [String] {
    heaps().filter { $0.role == role && $0.duplicateOf == nil }.map(\.name)
  }

  func role(of name: String) -> HeapRole {
    role(of: name, regions: CMARegion.names(in: regionDirectory))
  }

  /// The contiguous region behind a heap, as far as this kernel tells of it.
  ///
  /// - Parameter known: The region's name, where the caller learnt it before: regions are laid out when
  ///   the machine boots.
  func region(of name: String, known: String? = nil) -> CMARegion? {
    if let known, let region = CMARegion.read(known, in: regionDirectory) { return region }
    return region(of: name, among: names, regions: CMARegion.names(in: regionDirectory))
  }

  // MARK: Names and regions

  private var names: [String] {
    ((try? SmallFile.entries(of: directory)) ?? []).sorted { left, right in
      let (a, b) = (KnownHeapName.preference(left), KnownHeapName.preference(right))
      return a == b ? left < right : a < b
    }
  }

  /// By the table, else by the region of exactly the same name, else unknown.
  ///
  /// The regions are looked up only where the table does not know: it is asked at each allocation.
  private func role(of name: String, regions: @autoclosure () -> Set<String>) -> HeapRole {
    KnownHeapName.named(name)?.role ?? (regions().contains(name) ? .contiguous : .other)
  }

  /// The preferred name of the default region, where `name` is another name of it.
  private func defaultRegionName(
    besides name: String, among names: [String], regions: Set<String>
  ) -> String? {
    let preferred = "default_cma_region"
    guard name != preferred, names.contains(preferred) else { return nil }
    if KnownHeapName.named(name)?.isDefaultRegion == true { return preferred }
    // The default region is one of the regions: with a single one, that is it.
    return regions == [name] ? preferred : nil
  }

  private func region(
    of name: String, among names: [String], regions: Set<String>
  ) -> CMARegion? {
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
