@testable import LinuxHeaps

/// A directory of heap nodes, and one of contiguous regions.
///
/// Only root can make device nodes, so a node is a symbolic link to a device that every machine has;
/// the kernel's answer to stat(2) is that device's.
struct HeapNodes: ~Copyable {
  private static let devices = ["null", "zero", "full", "random", "urandom", "tty"]

  let nodes: TemporaryDirectory
  let regions: TemporaryDirectory

  /// Each node is a device of its own.
  init(_ names: [String] = []) throws {
    precondition(names.count <= Self.devices.count)
    let directory = try TemporaryDirectory()
    for (name, device) in zip(names, Self.devices) {
      try directory.link(name, to: "/dev/\(device)")
    }
    let empty = try TemporaryDirectory()
    nodes = directory
    regions = empty
  }

  var catalog: HeapCatalog { HeapCatalog(directory: nodes.path, regionDirectory: regions.path) }

  func add(_ name: String, device: String) throws {
    try nodes.link(name, to: "/dev/\(device)")
  }

  /// As `/sys/kernel/mm/cma` has it from Linux 7.0 on; nil figures for an older kernel.
  func addRegion(_ name: String, pages: UInt64? = nil, available: UInt64? = nil) throws {
    try regions.directory(name)
    if let pages { try regions.file("\(name)/total_pages", "\(pages)\n") }
    if let available { try regions.file("\(name)/available_pages", "\(available)\n") }
  }
}

extension HeapCatalog {
  /// The preferred name of the same memory, of each heap that has one.
  var duplicates: [String: String] {
    Dictionary(
      uniqueKeysWithValues: heaps().compactMap { heap in heap.duplicateOf.map { (heap.name, $0) } })
  }

  func heap(_ name: String) -> HeapEntry? { heaps().first { $0.name == name } }
}
