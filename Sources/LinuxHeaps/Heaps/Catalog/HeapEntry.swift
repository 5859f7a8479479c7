public import struct SystemPackage.FilePath

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

  /// Whether the name is one that kernels give their default contiguous region.
  package var isDefaultRegion: Bool { KnownHeapName.named(name)?.isDefaultRegion == true }
}
