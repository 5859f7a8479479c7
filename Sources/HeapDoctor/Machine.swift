internal import LinuxHeaps

/// What the examinations look at: the running machine, or a tree of files that stands for one.
///
/// Of a tree only the files are looked at; nothing is allocated from its nodes. A tree's own /proc has to say
/// who asks: `/proc/self/status`.
package struct Machine: Sendable {
  let surroundings: Surroundings
  let release: KernelVersion
  let configuration: KernelConfiguration?
  let heaps: [HeapNode]
  /// Why the heaps' directory cannot be looked into.
  let closedDirectory: AccessRefusal?
  let rules: UdevRules
  var files: MachineFiles { surroundings.files }
  var identity: Credentials { surroundings.identity }
  var container: String? { surroundings.container }

  package init(root: String = "") {
    let files = MachineFiles(root: root)
    surroundings = Surroundings(files)
    release = KernelVersion(files)
    configuration = KernelConfiguration(files, release: release)
    // A container's nodes are made by whoever starts it, and by no rule of its image's.
    rules = UdevRules(surroundings.container == nil ? files : nil)
    heaps = HeapNode.all(surroundings)
    closedDirectory = HeapCatalog(root: root).absence().flatMap {
      $0.cause == .directoryClosed ? $0 : nil
    }
  }

  /// Whether the system heap is charged to the control group of who allocates (`dma_heap.mem_accounting`, Linux 7.3).
  var chargesSystemHeap: Bool {
    files.line("/sys/module/dma_heap/parameters/mem_accounting") == "Y"
  }

  /// Of contiguous and protected heaps the kernel charges nothing.
  func isCharged(_ heap: HeapNode) -> Bool { chargesSystemHeap && heap.entry?.role == .system }

  /// Whether its devices can be tried.
  var isRunning: Bool { files.root.isEmpty }

  /// Why a built-in heap does not serve this process; nil where it does, and of a tree.
  func failure(of heap: String) -> HeapError? {
    guard isRunning else { return nil }
    do throws(HeapError) {
      try NamedHeap([heap]).check("use", among: [])
      return nil
    } catch {
      return error
    }
  }
}
