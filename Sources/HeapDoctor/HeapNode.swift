internal import LinuxHeaps
internal import SystemPackage

/// A heap as the machine shows it: a node in /dev, an entry in sysfs, or both.
struct HeapNode: Sendable {
  static let directory = HeapCatalog.directory

  let name: String
  var path: String { "\(Self.directory)/\(name)" }
  /// What the catalogue says of it; nil where there is no node.
  let entry: HeapEntry?
  /// `MAJOR:MINOR` of the heap that the kernel has under this name, nil where it has none.
  let registered: String?
  /// Nil where it can be opened, and is the kernel's heap.
  let refusal: AccessRefusal?

  var status: NodeStatus? { entry?.node }
  var isOpen: Bool { refusal == nil }
  /// Whether it is a link to what is not there.
  var isDangling: Bool { refusal?.cause == .danglingLink }

  static func all(_ surroundings: Surroundings) -> [HeapNode] {
    let catalog = HeapCatalog(root: surroundings.files.root)
    let (entries, registered) = (catalog.heaps(), catalog.registered)
    return (entries.map(\.name) + catalog.missing()).map { name in
      HeapNode(
        name: name, entry: entries.first { $0.name == name }, registered: registered[name],
        refusal: catalog.refusal(of: name, among: entries, in: surroundings))
    }
  }
}

/// What came of asking each heap that may be opened for a page: the proof that no file can give.
///
/// Nothing is asked of a tree, and nothing of protected heaps, whose memory is for their firmware.
struct Trial: Sendable {
  private let failures: [String: Errno]
  /// The heaps that gave a page.
  let working: [HeapNode]

  init(of machine: Machine) {
    var failures: [String: Errno] = [:]
    var working: [HeapNode] = []
    for heap in machine.heaps
    where machine.isRunning && heap.isOpen && heap.entry?.role != .protected {
      do throws(Errno) {
        _ = try Self.buffer(of: heap, size: pageSize)
        working.append(heap)
      } catch {
        failures[heap.name] = error
      }
    }
    self.failures = failures
    self.working = working
  }

  func failure(of heap: HeapNode) -> Errno? { failures[heap.name] }

  var lacksDescriptors: Bool { failures.values.contains(.tooManyOpenFiles) }

  /// Of the whole machine (`fs.file-max`).
  var lacksOpenFiles: Bool { failures.values.contains(.tooManyOpenFilesInSystem) }

  /// Straight from the kernel, so that it is gone as soon as the descriptor is. Named, as a heap's buffers are.
  static func buffer(of heap: HeapNode, size: UInt64) throws(Errno) -> OwnedFD {
    let buffer = try HeapDevice(heap.path).allocate(size: size)
    try DMABuf.setName("heapctl doctor", of: buffer.rawValue)
    return buffer
  }
}
