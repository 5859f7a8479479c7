internal import SystemPackage

/// The heap of a machine where nobody named one: the kernel's, else the embedded memfd heap.
package struct DefaultHeap {
  package let heap: any LocalHeap
  package let isKernelHeap: Bool
  /// One line that says which, and why.
  package let reason: String

  package init(catalog: HeapCatalog = HeapCatalog()) {
    let entries = catalog.heaps()
    if entries.contains(where: { $0.node?.isUsable == true }) {
      heap = DMABufHeap(catalog: catalog)
      isKernelHeap = true
      let names = entries.map { "\($0.name) (\($0.role.rawValue))" }.joined(separator: ", ")
      reason = "the kernel's dma-buf heaps, because this machine has them: \(names)"
    } else {
      heap = MemfdHeap()
      isKernelHeap = false
      let cause =
        entries.first.map {
          "may not open \($0.path.string), which is \($0.node.map { "\($0)" } ?? "gone")"
        }
        ?? "this machine has no /dev/dma_heap"
      reason = "the embedded memfd heap, because \(entries.isEmpty ? cause : "this user \(cause)")"
    }
  }
}
