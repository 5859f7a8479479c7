internal import HeapReport
internal import HeapTestKit
internal import LinuxHeaps
internal import SystemPackage

extension Report.Heap {
  init(_ entry: HeapEntry) {
    self.init(name: entry.name, kind: "dma-buf heap", usable: entry.node?.isUsable ?? false)
    role = entry.role.rawValue
    path = entry.path.string
    duplicateOf = entry.duplicateOf
    mode = entry.node?.octalMode
    owner = entry.node?.owner
    group = entry.node?.group
    capacityBytes = entry.capacity
    freeBytes = entry.free
  }

  /// A heap with its node, or one that has none: built in, or served by another process.
  init(_ heap: HeapUnderTest, entry: HeapEntry?) {
    if let entry {
      self.init(entry)
    } else {
      self.init(name: heap.name, kind: heap.kind.rawValue)
    }
  }
}
