import Foundation
package import LinuxHeaps

/// The heaps that the tests of this machine are to work on: those that `LINUXHEAPS_HEAPS` names, else all
/// that it has.
package enum TestHeaps {
  package static let names: [String] =
    ProcessInfo.processInfo.environment["LINUXHEAPS_HEAPS"]
    .map { $0.split(separator: " ").map(String.init) }
    ?? HeapCatalog().heaps().filter { $0.node?.isUsable == true }.map(\.name)
    + (UDMABufHeap.isUsable ? ["udmabuf"] : []) + ["memfd", "opaque"]

  /// Those whose buffers are dma-bufs.
  package static let dmaBufs = names.filter { $0 != "memfd" && $0 != "opaque" }

  /// What its buffers are.
  package static func kind(of heap: String) -> String { dmaBufs.contains(heap) ? "dma-buf" : heap }

  /// Those that the processor can reach.
  package static let mappable = names.filter { $0 != "opaque" }

  /// Of this process.
  package static func make(_ name: String) -> any LocalHeap { NamedHeap([name]).make() }
}
