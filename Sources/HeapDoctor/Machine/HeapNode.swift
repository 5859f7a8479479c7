internal import LinuxHeaps
internal import SystemPackage

/// A heap as the machine shows it: a node in /dev, an entry in sysfs, or both.
struct HeapNode: Sendable {
  static let directory = "/dev/dma_heap"
  private static let registry = "/sys/class/dma_heap"

  let name: String
  var path: String { "\(Self.directory)/\(name)" }
  /// What the catalogue says of it; nil where there is no node.
  let entry: HeapEntry?
  /// `MAJOR:MINOR` of the heap that the kernel has under this name, nil where it has none.
  let registered: String?
  /// What open(2) answers, nil where it succeeds.
  let openingError: Errno?

  var status: NodeStatus? { entry?.node }
  var isOpen: Bool { entry != nil && openingError == nil }

  static func all(_ files: MachineFiles) -> [HeapNode] {
    let entries = HeapCatalog(root: files.root).heaps()
    let missing = files.entries(registry).filter { name in !entries.contains { $0.name == name } }
    return entries.map { entry in
      HeapNode(
        name: entry.name, entry: entry, registered: registered(entry.name, files),
        openingError: files.openingError("\(directory)/\(entry.name)"))
    }
      + missing.map {
        HeapNode(
          name: $0, entry: nil, registered: registered($0, files),
          openingError: .noSuchFileOrDirectory)
      }
  }

  private static func registered(_ name: String, _ files: MachineFiles) -> String? {
    files.line("\(registry)/\(name)/dev")
  }
}
